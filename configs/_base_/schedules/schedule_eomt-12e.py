# 12 epochs of COCO in batches of 16: AdamW 1e-4, the backbone later than the heads, decay of all weights
optim_wrapper = dict(
    type='AmpOptimWrapper',
    constructor='GroupedConstructor',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05),
    clip_grad=dict(max_norm=0.01, norm_type=2),
    paramwise_cfg=dict(norm_decay_mult=1.0, embed_decay_mult=1.0, no_decay=(), late=['backbone']),
)
param_scheduler = dict(type='TwoStagePolyLR', by_epoch=False, begin=0, end=88692, warm_up=(500, 1000), power=0.9)
train_cfg = dict(type='VideoTrainLoop', max_iters=88692, val_interval=20000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=16)
