_base_ = [
    '../_base_/models/minvis_efficientnet-lite0.py',
    '../_base_/datasets/camvid.py',
    '../_base_/schedules/schedule_toy.py',
    '../_base_/default_runtime.py',
]
model = dict(num_classes=_base_.num_classes, postprocessor=_base_.postprocessor)
train_dataloader = dict(batch_size=8)
optim_wrapper = dict(optimizer=dict(lr=5e-4), paramwise_cfg=dict(lr_mult=dict(backbone=0.1)))
train_cfg = dict(max_iters=4000, val_interval=1000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='LinearLR', start_factor=1.0, end_factor=0.02, by_epoch=False, begin=2000, end=4000),
]
