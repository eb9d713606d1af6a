# the released code, FuseTrack: 96 epochs of 2400 frames in batches of 8, divided by 10 after 64 and 88
_base_ = './schedule_sgd_144e.py'
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 3, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', by_epoch=False, milestones=[19200, 26400], gamma=0.1),
]
train_cfg = dict(max_iters=28800, val_interval=28801)
