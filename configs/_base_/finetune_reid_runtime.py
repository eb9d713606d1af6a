# for segmenters that start from a checkpoint with other classes and without re-identification
_base_ = './finetune_runtime.py'
custom_hooks = [
    dict(
        type='CheckpointLoadingHook',
        required=('segmenter',),
        allow_mismatch=('segmenter.cls_embed', 'segmenter.reid_embed'),
    ),
    dict(type='ClassCountHook'),
]
