_base_ = './dvis-online_r18_1xb4-t10_toy.py'
train_cfg = dict(max_iters=8000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='LinearLR', start_factor=1.0, end_factor=0.02, by_epoch=False, begin=4000, end=8000),
]
