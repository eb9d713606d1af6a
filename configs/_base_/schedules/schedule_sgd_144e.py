# 144 epochs of 2400 frames in batches of 8, divided by 10 after 96 and 128
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='GroupedConstructor',
    optimizer=dict(type='SGD', lr=0.005, momentum=0.9, weight_decay=1e-4),
    clip_grad=dict(max_norm=35, norm_type=2),
    paramwise_cfg=dict(norm_decay_mult=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 3, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', by_epoch=False, milestones=[28800, 38400], gamma=0.1),
]
train_cfg = dict(type='VideoTrainLoop', max_iters=43200, val_interval=43201)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=8)
