_base_ = './minvis_vit-g_8xb2-t1-20k_vipseg-720p.py'
model = dict(segmenter=dict(num_queries=300))
custom_hooks = [
    dict(
        type='CheckpointLoadingHook',
        required=('segmenter',),
        allow_mismatch=('segmenter.cls_embed', 'segmenter.query_feat', 'segmenter.query_embed'),
    ),
    dict(type='ClassCountHook'),
]
