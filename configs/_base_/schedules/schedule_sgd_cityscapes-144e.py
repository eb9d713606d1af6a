# 144 epochs of 2975 images in batches of 8, divided by 10 after 96 and 128
_base_ = './schedule_sgd_144e.py'
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 3, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', by_epoch=False, milestones=[35712, 47616], gamma=0.1),
]
train_cfg = dict(max_iters=53568, val_interval=53569)
