# for segmenters that start from a checkpoint with other classes
_base_ = './default_runtime.py'
custom_hooks = [
    dict(type='CheckpointLoadingHook', required=('segmenter',), allow_mismatch=('segmenter.cls_embed',)),
    dict(type='ClassCountHook'),
]
