# Swin-T, 224 pixels, window 7
segmenter = dict(
    backbone=dict(
        _delete_=True,
        type='mmdet.SwinTransformer',
        pretrain_img_size=224,
        embed_dims=96,
        depths=(2, 2, 6, 2),
        num_heads=(3, 6, 12, 24),
        window_size=7,
        drop_path_rate=0.3,
        convert_weights=True,
    ),
    in_channels=(96, 192, 384, 768),
)
