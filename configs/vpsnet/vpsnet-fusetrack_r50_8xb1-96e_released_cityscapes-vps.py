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
    fuse=_base_.fuse.fuse,
    tracking=_base_.tracking.fused,
    flow=_base_.flow,
)
train_dataloader = dict(dataset=dict(augment=dict(scale=dict(scales=(0.8, 1.5)))))
load_from = 'work_dirs/vpsnet-fuse_r50_8xb1-192e_released_cityscapes-vps/iter_57600.pth'
custom_hooks = _base_.hooks.track
