# Swin-L, 384 pixels, window 12
segmenter = dict(
    backbone=dict(
        _delete_=True,
        type='mmdet.SwinTransformer',
        pretrain_img_size=384,
        embed_dims=192,
        depths=(2, 2, 18, 2),
        num_heads=(6, 12, 24, 48),
        window_size=12,
        drop_path_rate=0.3,
        convert_weights=True,
    ),
    in_channels=(192, 384, 768, 1536),
    num_queries=200,
)
