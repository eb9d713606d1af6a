_base_ = [
    '../_base_/models/minvis_vit-l.py',
    '../_base_/datasets/ovis_360p-vit.py',
    '../_base_/schedules/schedule_20k.py',
    '../_base_/default_runtime.py',
]
model = dict(segmenter=dict(num_classes=_base_.num_classes), postprocessor=_base_.postprocessor)
load_from = 'work_dirs/mask2former_vit-l_8xb2-737k_coco-instance/iter_737500.pth'
custom_hooks = [
    dict(type='CheckpointLoadingHook', required=('segmenter',), allow_mismatch=('segmenter.cls_embed',)),
    dict(type='ClassCountHook'),
]
