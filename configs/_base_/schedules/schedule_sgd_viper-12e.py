# 12 epochs of 134,097 frames in batches of 8, divided by 10 after 8 and 11
_base_ = './schedule_sgd_144e.py'
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 3, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', by_epoch=False, milestones=[134096, 184382], gamma=0.1),
]
train_cfg = dict(max_iters=201144, val_interval=201145)
