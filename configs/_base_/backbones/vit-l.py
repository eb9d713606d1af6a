# DINOv2 ViT-l, frozen, with the compact ViT-Adapter
segmenter = dict(
    backbone=dict(
        _delete_=True,
        type='ViTAdapter',
        vit=dict(type='DINOv2', arch='large'),
        num_heads=16,
        norm_cfg=dict(type='SyncBN'),
    ),
    in_channels=(1024, 1024, 1024, 1024),
    num_queries=200,
)
