_base_ = [
    '../_base_/models/vpsnet.py',
    '../_base_/models/vpsnet_variants.py',
    '../_base_/datasets/cityscapes_panoptic.py',
    '../_base_/schedules/schedule_sgd_cityscapes-144e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    num_classes=_base_.num_classes,
    panoptic=dict(num_things=_base_.num_things),
    fuse=_base_.fuse.base,
    tracking=_base_.tracking.cls_sort,
)
train_dataloader = dict(dataset=dict(clip=dict(num_frames=1), offsets=()))
test_dataloader = dict(dataset=dict(offsets=()))
val_dataloader = test_dataloader
load_from = 'work_dirs/vpsnet-base_r50_8xb2-12e_coco-panoptic/iter_88716.pth'
custom_hooks = _base_.hooks.base
