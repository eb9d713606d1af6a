_base_ = ['./youtube_vis_2021_360p.py', './coco_source.py']
train_dataloader = dict(
    sampler=dict(ratios=[1.0, 1.0]),
    dataset=dict(
        _delete_=True,
        type='ConcatClipDataset',
        clip=_base_.train_dataloader.dataset.clip,
        datasets=dict(
            coco=dict(
                _base_.coco_source,
                target='YouTubeVIS2021',
                augment=dict(_base_.train_dataloader.dataset.augment, rotate=dict(angle=15.0)),
            ),
            videos=dict(_base_.train_dataloader.dataset, filter_empty=True),
        ),
    ),
)
