# AdamW 1e-4, 0.1 times that for the backbone, divided by 10 at 70 % of the run; fp16 mixed precision (float32 on a CPU)
optim_wrapper = dict(
    type='AmpOptimWrapper',
    constructor='GroupedConstructor',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05),
    clip_grad=dict(max_norm=0.01, norm_type=2),
    paramwise_cfg=dict(lr_mult=dict(backbone=0.1)),
)
param_scheduler = dict(type='MultiStepLR', by_epoch=False, milestones=[14000], gamma=0.1)
train_cfg = dict(type='VideoTrainLoop', max_iters=20000, val_interval=20001)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=8)
