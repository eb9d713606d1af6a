# the panoptic model goes on with semantic masks: the refiner learns at a quarter of its rate, its matching is its own
_base_ = [
    '../_base_/models/dvis-offline_toy.py',
    '../_base_/datasets/toy_vspw.py',
    '../_base_/schedules/schedule_toy.py',
    '../_base_/default_runtime.py',
]
model = dict(
    num_classes=_base_.num_classes,
    trainable=('refiner',),
    refiner=dict(loss=dict(guided=0.0)),
    postprocessor=_base_.postprocessor,
)
train_dataloader = dict(batch_size=3, dataset=dict(clip=dict(num_frames=20, reverse=0.5)))
load_from = 'work_dirs/dvis-offline_r18_1xb3-t20_toy/iter_1000.pth'
optim_wrapper = dict(optimizer=dict(lr=0.000125))
train_cfg = dict(max_iters=300)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=30),
    dict(type='LinearLR', start_factor=1.0, end_factor=0.02, by_epoch=False, begin=150, end=300),
]
