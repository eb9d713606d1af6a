# DINOv2 ViT-g, frozen, with the compact ViT-Adapter
segmenter = dict(
    backbone=dict(
        _delete_=True,
        type='ViTAdapter',
        vit=dict(type='DINOv2', arch='giant'),
        num_heads=24,
        norm_cfg=dict(type='SyncBN'),
    ),
    in_channels=(1536, 1536, 1536, 1536),
    num_queries=200,
)
