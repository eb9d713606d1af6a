_base_ = [
    '../_base_/models/dvis-offline_toy.py',
    '../_base_/datasets/toy.py',
    '../_base_/schedules/schedule_toy.py',
    '../_base_/default_runtime.py',
]
model = dict(num_classes=_base_.num_classes, postprocessor=_base_.postprocessor)
train_dataloader = dict(batch_size=3, dataset=dict(clip=dict(num_frames=20, reverse=0.5)))
load_from = 'work_dirs/dvis-online_r18_1xb4-t10_toy/iter_1600.pth'
optim_wrapper = dict(optimizer=dict(lr=0.0005))
train_cfg = dict(max_iters=1000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='LinearLR', start_factor=1.0, end_factor=0.02, by_epoch=False, begin=500, end=1000),
]
