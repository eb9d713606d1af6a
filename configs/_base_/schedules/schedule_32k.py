# 5e-5, batch 8, divided by 10 at 12k and at 24k
_base_ = './schedule_20k.py'
optim_wrapper = dict(optimizer=dict(lr=5e-5))
param_scheduler = dict(milestones=[12000, 24000])
train_cfg = dict(max_iters=32000, val_interval=32001)
