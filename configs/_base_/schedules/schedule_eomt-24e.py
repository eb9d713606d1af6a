_base_ = './schedule_eomt-12e.py'
param_scheduler = dict(end=177384)
train_cfg = dict(max_iters=177384)
