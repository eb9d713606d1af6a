_base_ = './dvis-plus-tracker.py'
model = dict(
    refiner=dict(
        type='TemporalRefiner',
        channels=512,
        mask_channels=256,
        decoder=dict(num_layers=6, num_heads=8, ffn_channels=2048),
        loss=dict(type='QuerySetLoss', matching='video'),
    )
)
