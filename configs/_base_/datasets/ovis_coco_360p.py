_base_ = './ovis_360p.py'
train_dataloader = dict(
    sampler=dict(ratios=[1.0, 1.0]),
    dataset=dict(
        _delete_=True,
        type='ConcatClipDataset',
        clip=dict(num_frames=1),
        datasets=dict(
            coco=dict(
                type='CocoInstanceClipDataset',
                target='OVIS',
                data_root='data/coco/',
                ann_file='annotations/instances_train2017.json',
                data_prefix=dict(img='train2017'),
                filter_empty=False,
                augment=dict(short_edges=[240, 360, 480], max_edge=768, rotate=dict(angle=15.0), flip=0.5),
            ),
            videos=dict(
                type='OVISDataset',
                data_root='data/ovis/',
                ann_file='annotations/annotations_train.json',
                data_prefix=dict(img='train'),
                filter_empty=False,
                augment=dict(short_edges=[240, 360, 480], max_edge=1333, flip=0.5),
            ),
        ),
    ),
)
val_dataloader = dict(dataset=dict(test=dict(short_edge=360, max_edge=1333)))
test_dataloader = val_dataloader
