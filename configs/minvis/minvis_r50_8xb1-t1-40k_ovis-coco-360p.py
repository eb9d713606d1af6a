_base_ = [
    '../_base_/models/minvis_r50.py',
    '../_base_/datasets/ovis_coco_360p.py',
    '../_base_/schedules/schedule_40k.py',
    '../_base_/default_runtime.py',
]
model = dict(segmenter=dict(num_classes=_base_.num_classes), postprocessor=_base_.postprocessor)
load_from = 'checkpoints/mask2former_r50_coco-instance.pth'
custom_hooks = [
    dict(type='CheckpointLoadingHook', required=('segmenter',), allow_mismatch=('segmenter.cls_embed',)),
    dict(type='ClassCountHook'),
]
