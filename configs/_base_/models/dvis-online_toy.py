_base_ = './minvis_toy.py'
model = dict(
    tracker=dict(
        type='DVISTracker',
        channels=64,
        mask_channels=64,
        decoder=dict(num_layers=3, num_heads=4, ffn_channels=256),
        loss=dict(type='QuerySetLoss', matching='first_appearance', num_points=256),
    )
)
