_base_ = './schedule_toy.py'
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='LinearLR', start_factor=1.0, end_factor=0.02, by_epoch=False, begin=750, end=1500),
]
train_cfg = dict(max_iters=1500)
