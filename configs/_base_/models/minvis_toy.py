# a segmenter of 3.4 M parameters for frames of 96 x 160 on a CPU
_base_ = './minvis.py'
model = dict(
    segmenter=dict(
        backbone=dict(depth=18, base_channels=32, norm_cfg=dict(type='BN', requires_grad=True), norm_eval=False),
        in_channels=(32, 64, 128, 256),
        num_queries=20,
        channels=64,
        mask_channels=64,
        pixel_decoder=dict(num_layers=1, num_heads=4, ffn_channels=256, norm_groups=8),
        decoder=dict(num_layers=6, num_heads=4, ffn_channels=256),
        loss=dict(num_points=256),
    ),
    window=10,
)
