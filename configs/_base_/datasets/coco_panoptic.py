_base_ = './loaders.py'
data_root = 'data/coco/'
num_classes = 133
postprocessor = dict(type='PanopticPostprocessor', num_things=80, score_thr=0.8, overlap_thr=0.8)
train_dataloader = dict(
    dataset=dict(
        type='CocoPanopticClipDataset',
        data_root=data_root,
        ann_file='annotations/panoptic_train2017.json',
        data_prefix=dict(img='train2017', seg='annotations/panoptic_train2017'),
        filter_empty=True,
        clip=dict(num_frames=1),
        augment=dict(jitter=dict(size=1024, scales=(0.1, 2.0)), flip=0.5),
    )
)
val_dataloader = dict(
    dataset=dict(
        type='CocoPanopticClipDataset',
        data_root=data_root,
        ann_file='annotations/panoptic_val2017.json',
        data_prefix=dict(img='val2017', seg='annotations/panoptic_val2017'),
        test=dict(short_edge=800, max_edge=1333),
    )
)
test_dataloader = val_dataloader
val_evaluator = [
    dict(
        type='PanopticQualityMetric',
        gt_json=data_root + 'annotations/panoptic_val2017.json',
        gt_dir=data_root + 'annotations/panoptic_val2017',
    )
]
test_evaluator = val_evaluator
