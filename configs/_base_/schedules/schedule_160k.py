_base_ = './schedule_20k.py'
param_scheduler = dict(milestones=[112000])
train_cfg = dict(max_iters=160000, val_interval=160001)
