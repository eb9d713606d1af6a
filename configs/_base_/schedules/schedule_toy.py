# constant for the first half, then linear to 2 %
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='GroupedConstructor',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=1.0, norm_type=2),
    paramwise_cfg=dict(bias_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='LinearLR', start_factor=1.0, end_factor=0.02, by_epoch=False, begin=1400, end=2800),
]
train_cfg = dict(type='VideoTrainLoop', max_iters=2800, val_interval=100000)
test_cfg = dict(type='TestLoop')
