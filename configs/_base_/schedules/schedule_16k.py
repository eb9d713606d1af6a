# 5e-5, batch 16, divided by 10 at 6k and at 12k
_base_ = './schedule_32k.py'
param_scheduler = dict(milestones=[6000, 12000])
train_cfg = dict(max_iters=16000, val_interval=16001)
auto_scale_lr = dict(base_batch_size=16)
