_base_ = './youtube_vis_2021_360p.py'
train_dataloader = dict(
    sampler=dict(ratios=[1.0, 1.0]),
    dataset=dict(
        _delete_=True,
        type='ConcatClipDataset',
        clip=_base_.train_dataloader.dataset.clip,
        datasets=dict(
            coco=dict(
                type='CocoInstanceClipDataset',
                target='YouTubeVIS2021',
                data_root='data/coco/',
                ann_file='annotations/instances_train2017.json',
                data_prefix=dict(img='train2017'),
                filter_empty=True,
                augment=dict(_base_.train_dataloader.dataset.augment, rotate=dict(angle=15.0)),
            ),
            videos=dict(_base_.train_dataloader.dataset, filter_empty=True),
        ),
    ),
)
