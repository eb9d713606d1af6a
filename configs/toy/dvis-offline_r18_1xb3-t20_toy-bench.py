_base_ = './dvis-offline_r18_1xb3-t20_toy.py'
train_cfg = dict(max_iters=4000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='LinearLR', start_factor=1.0, end_factor=0.02, by_epoch=False, begin=2000, end=4000),
]
