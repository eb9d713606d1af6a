_base_ = './youtube_vis_2019_360p.py'
train_dataloader = dict(
    sampler=dict(ratios=[1.0, 0.75]),
    dataset=dict(
        _delete_=True,
        type='ConcatClipDataset',
        clip=dict(num_frames=1),
        datasets=dict(
            coco=dict(
                type='CocoInstanceClipDataset',
                target='YouTubeVIS2019',
                data_root='data/coco/',
                ann_file='annotations/instances_train2017.json',
                data_prefix=dict(img='train2017'),
                filter_empty=True,
                augment=dict(
                    short_edges=[240, 360, 480],
                    max_edge=768,
                    crop_first=dict(short_edges=[400, 500, 600], max_edge=1333, between=(384, 600), prob=0.5),
                    rotate=dict(angle=15.0),
                    flip=0.5,
                ),
            ),
            videos=dict(
                type='YouTubeVISDataset',
                version=2019,
                data_root='data/ytvis_2019/',
                ann_file='train.json',
                data_prefix=dict(img='train/JPEGImages'),
                filter_empty=True,
                augment=dict(
                    short_edges=[240, 360, 480],
                    max_edge=768,
                    crop_first=dict(short_edges=[400, 500, 600], max_edge=1333, between=(384, 600), prob=0.5),
                    flip=0.5,
                ),
            ),
        ),
    ),
)
val_dataloader = dict(dataset=dict(test=dict(short_edge=360, max_edge=1333)))
test_dataloader = val_dataloader
