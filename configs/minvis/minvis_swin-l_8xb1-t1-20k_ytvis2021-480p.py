_base_ = [
    '../_base_/models/minvis_swin-l.py',
    '../_base_/datasets/youtube_vis_2021_coco_480p.py',
    '../_base_/schedules/schedule_20k.py',
    '../_base_/default_runtime.py',
]
model = dict(segmenter=dict(num_classes=_base_.num_classes), postprocessor=_base_.postprocessor)
load_from = 'checkpoints/mask2former_swin-l_coco-instance.pth'
custom_hooks = [
    dict(type='CheckpointLoadingHook', required=('segmenter',), allow_mismatch=('segmenter.cls_embed',)),
    dict(type='ClassCountHook'),
]
