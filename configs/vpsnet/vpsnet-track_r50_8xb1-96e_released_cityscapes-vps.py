_base_ = [
    '../_base_/models/vpsnet.py',
    '../_base_/models/vpsnet_variants_released.py',
    '../_base_/datasets/cityscapes_vps_pairs.py',
    '../_base_/schedules/schedule_sgd_96e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    num_classes=_base_.num_classes,
    panoptic=dict(num_things=_base_.num_things, loss_weight=0.5, zero_outside=True),
    detector=dict(semantic_head=dict(loss_at='full')),
    tracking=_base_.tracking.raw,
    flow=_base_.flow,
)
train_dataloader = dict(dataset=dict(augment=dict(scale=dict(scales=(0.8, 1.5)))))
load_from = 'work_dirs/vpsnet-base_r50_8xb2-12e_coco-panoptic/iter_88716.pth'
custom_hooks = _base_.hooks.track
