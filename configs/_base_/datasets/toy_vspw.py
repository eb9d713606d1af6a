# the toy videos in VSPW's layout
data_root = '{{$TOY_DATA:data/toy}}/vspw/'
num_classes = 11
postprocessor = dict(type='SemanticPostprocessor')
train_dataloader = dict(
    num_workers=1,
    persistent_workers=True,
    prefetch_factor=4,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='VSPWDataset',
        categories='categories.json',
        data_root=data_root,
        ann_file='train.txt',
        clip=dict(num_frames=1),
        augment=dict(flip=0.5),
    ),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='VSPWDataset', categories='categories.json', data_root=data_root, ann_file='val.txt', test_mode=True
    ),
)
test_evaluator = [dict(type='VSSMetric', gt_root=data_root, num_classes=11)]
