# 12 epochs of 118,287 images in batches of 16, divided by 10 after 8 and 11
_base_ = './schedule_sgd_144e.py'
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 3, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', by_epoch=False, milestones=[59144, 81323], gamma=0.1),
]
train_cfg = dict(max_iters=88716, val_interval=88717)
optim_wrapper = dict(optimizer=dict(lr=0.01))
auto_scale_lr = dict(base_batch_size=16)
