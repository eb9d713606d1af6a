# the released code, Fuse: 192 epochs of 2400 frames in batches of 8, divided by 10 after 128 and 176
_base_ = './schedule_sgd_144e.py'
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 3, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', by_epoch=False, milestones=[38400, 52800], gamma=0.1),
]
train_cfg = dict(max_iters=57600, val_interval=57601)
