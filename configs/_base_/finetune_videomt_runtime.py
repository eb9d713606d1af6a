# for VidEoMT that starts from the weights of EoMT
_base_ = './default_runtime.py'
custom_hooks = [
    dict(
        type='CheckpointLoadingHook',
        required=('segmenter',),
        allow_mismatch=('segmenter.cls_embed', 'segmenter.query_update'),
    ),
    dict(type='ClassCountHook'),
]
