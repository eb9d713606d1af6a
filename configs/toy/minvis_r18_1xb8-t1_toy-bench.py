_base_ = './minvis_r18_1xb8-t1_toy.py'
train_cfg = dict(max_iters=10000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='LinearLR', start_factor=1.0, end_factor=0.02, by_epoch=False, begin=5000, end=10000),
]
