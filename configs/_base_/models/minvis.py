model = dict(
    type='DVIS',
    data_preprocessor=dict(type='ClipPreprocessor'),
    segmenter=dict(
        type='Mask2FormerSegmenter',
        backbone=dict(
            type='mmdet.ResNet',
            depth=50,
            frozen_stages=-1,
            norm_cfg=dict(type='BN', requires_grad=False),
            norm_eval=True,
            style='pytorch',
        ),
        in_channels=(256, 512, 1024, 2048),
        num_queries=100,
        channels=256,
        mask_channels=256,
        pixel_decoder=dict(num_layers=6, num_heads=8, ffn_channels=1024, num_points=4),
        decoder=dict(num_layers=9, num_heads=8, ffn_channels=2048),
        loss=dict(type='QuerySetLoss', matching='frame'),
    ),
    tracker=dict(type='CosineTracker'),
)
