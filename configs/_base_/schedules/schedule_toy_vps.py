# constant for the first half, then linear to 2 %
_base_ = './schedule_toy.py'
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='LinearLR', start_factor=1.0, end_factor=0.02, by_epoch=False, begin=1250, end=2500),
]
train_cfg = dict(max_iters=2500)
