_base_ = [
    '../_base_/models/vpsnet_toy.py',
    '../_base_/models/vpsnet_variants_toy.py',
    '../_base_/datasets/toy_vps.py',
    '../_base_/schedules/schedule_toy_vps_1500.py',
    '../_base_/default_runtime.py',
]
model = dict(
    num_classes=_base_.num_classes,
    panoptic=dict(num_things=_base_.num_things),
    fuse=_base_.fuse.fuse,
    tracking=_base_.tracking.fused,
    flow=_base_.flow,
)
custom_hooks = [dict(type='CheckpointLoadingHook', allow_mismatch=('fuse', 'track_head')), dict(type='ClassCountHook')]
