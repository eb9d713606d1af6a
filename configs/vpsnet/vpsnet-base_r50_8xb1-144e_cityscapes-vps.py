_base_ = [
    '../_base_/models/vpsnet.py',
    '../_base_/models/vpsnet_variants.py',
    '../_base_/datasets/cityscapes_vps_pairs.py',
    '../_base_/schedules/schedule_sgd_144e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    num_classes=_base_.num_classes,
    panoptic=dict(num_things=_base_.num_things),
    fuse=_base_.fuse.base,
    tracking=_base_.tracking.cls_sort,
)
train_dataloader = dict(dataset=dict(clip=dict(num_frames=1)))
load_from = 'work_dirs/vpsnet-base_r50_8xb1-12e_viper/iter_201144.pth'
custom_hooks = _base_.hooks.base
