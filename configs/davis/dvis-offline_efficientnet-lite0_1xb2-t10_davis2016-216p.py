_base_ = './dvis-online_efficientnet-lite0_1xb2-t5_davis2016-216p.py'
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
train_dataloader = dict(batch_size=2, dataset=dict(clip=dict(num_frames=10)))
load_from = 'work_dirs/dvis-online_efficientnet-lite0_1xb2-t5_davis2016-216p/iter_2000.pth'
