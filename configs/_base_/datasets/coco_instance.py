_base_ = './loaders.py'
data_root = 'data/coco/'
num_classes = 80
postprocessor = dict(type='InstancePostprocessor', max_num=100, mask_scores=True)
train_dataloader = dict(
    dataset=dict(
        type='CocoInstanceClipDataset',
        data_root=data_root,
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017'),
        filter_empty=True,
        clip=dict(num_frames=1),
        augment=dict(jitter=dict(size=1024, scales=(0.1, 2.0)), flip=0.5),
    )
)
val_dataloader = dict(
    dataset=dict(
        type='CocoInstanceClipDataset',
        data_root=data_root,
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017'),
        test=dict(short_edge=800, max_edge=1333),
    )
)
test_dataloader = val_dataloader
val_evaluator = [dict(type='InstanceAPMetric', gt_json=data_root + 'annotations/instances_val2017.json')]
test_evaluator = val_evaluator
