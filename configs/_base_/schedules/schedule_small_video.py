# 4000 iterations with a pre-trained backbone at a tenth of the rate, for two CPU cores
_base_ = './schedule_toy.py'
optim_wrapper = dict(optimizer=dict(lr=5e-4), paramwise_cfg=dict(lr_mult=dict(backbone=0.1)))
train_cfg = dict(max_iters=4000, val_interval=1000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='LinearLR', start_factor=1.0, end_factor=0.02, by_epoch=False, begin=2000, end=4000),
]
