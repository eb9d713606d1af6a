_base_ = './dvis-online.py'
model = dict(
    tracker=dict(context='first_frame'),
    refiner=dict(
        type='TemporalRefiner',
        channels=256,
        mask_channels=256,
        decoder=dict(num_layers=6, num_heads=8, ffn_channels=2048),
        loss=dict(type='QuerySetLoss', matching='video'),
    ),
)
