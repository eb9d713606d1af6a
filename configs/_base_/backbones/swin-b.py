# Swin-B, 384 pixels, window 12
segmenter = dict(
    backbone=dict(
        _delete_=True,
        type='mmdet.SwinTransformer',
        pretrain_img_size=384,
        embed_dims=128,
        depths=(2, 2, 18, 2),
        num_heads=(4, 8, 16, 32),
        window_size=12,
        drop_path_rate=0.3,
        convert_weights=True,
    ),
    in_channels=(128, 256, 512, 1024),
)
