_base_ = './minvis.py'
model = dict(
    tracker=dict(
        type='DVISTracker',
        channels=256,
        mask_channels=256,
        decoder=dict(num_layers=6, num_heads=8, ffn_channels=2048),
        loss=dict(type='QuerySetLoss', matching='first_appearance'),
    )
)
