_base_ = './dvis-online_toy.py'
model = dict(
    tracker=dict(context='first_frame'),
    refiner=dict(
        type='TemporalRefiner',
        channels=64,
        mask_channels=64,
        decoder=dict(num_layers=3, num_heads=4, ffn_channels=256),
        loss=dict(type='QuerySetLoss', matching='video', num_points=256),
    ),
)
