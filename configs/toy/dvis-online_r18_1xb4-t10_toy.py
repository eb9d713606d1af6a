_base_ = [
    '../_base_/models/dvis-online_toy.py',
    '../_base_/datasets/toy.py',
    '../_base_/schedules/schedule_toy.py',
    '../_base_/default_runtime.py',
]
model = dict(num_classes=_base_.num_classes, postprocessor=_base_.postprocessor)
train_dataloader = dict(batch_size=4, dataset=dict(clip=dict(num_frames=10)))
load_from = 'work_dirs/minvis_r18_1xb8-t1_toy/iter_2800.pth'
optim_wrapper = dict(optimizer=dict(lr=0.0005))
train_cfg = dict(max_iters=1600)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='LinearLR', start_factor=1.0, end_factor=0.02, by_epoch=False, begin=800, end=1600),
]
