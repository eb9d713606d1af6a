# as schedule_20k, batch 16, divided by 10 at 14k and at 18k
_base_ = './schedule_20k.py'
param_scheduler = dict(milestones=[14000, 18000])
auto_scale_lr = dict(base_batch_size=16)
