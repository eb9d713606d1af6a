_base_ = './minvis_efficientnet-lite0_1xb8-t1_camvid-360p.py'
model = dict(
    refiner=dict(
        type='TemporalRefiner',
        channels=64,
        mask_channels=64,
        decoder=dict(num_layers=3, num_heads=4, ffn_channels=256),
        loss=dict(type='QuerySetLoss', matching='video', num_points=256),
    )
)
train_dataloader = dict(batch_size=2, dataset=dict(clip=dict(num_frames=5)))
load_from = 'work_dirs/minvis_efficientnet-lite0_1xb8-t1_camvid-360p/iter_4000.pth'
train_cfg = dict(max_iters=2000, val_interval=1000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='LinearLR', start_factor=1.0, end_factor=0.02, by_epoch=False, begin=1000, end=2000),
]
