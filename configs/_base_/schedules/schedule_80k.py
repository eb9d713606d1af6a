_base_ = './schedule_20k.py'
param_scheduler = dict(milestones=[56000])
train_cfg = dict(max_iters=80000, val_interval=80001)
