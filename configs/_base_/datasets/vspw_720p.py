data_root = 'data/VSPW_480p/'
num_classes = 124
postprocessor = dict(type='SemanticPostprocessor')
train_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='ClipSampler'),
    dataset=dict(
        type='VSPWDataset',
        data_root=data_root,
        ann_file='train.txt',
        clip=dict(num_frames=1),
        augment=dict(short_edges=[480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800], max_edge=1333, flip=0.5),
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='VSPWDataset',
        data_root=data_root,
        ann_file='val.txt',
        test_mode=True,
        test=dict(short_edge=720, max_edge=1333),
    ),
)
test_dataloader = val_dataloader
val_evaluator = [dict(type='VSSMetric', gt_root=data_root)]
test_evaluator = val_evaluator
