_base_ = './schedule_20k.py'
param_scheduler = dict(milestones=[28000])
train_cfg = dict(max_iters=40000, val_interval=40001)
