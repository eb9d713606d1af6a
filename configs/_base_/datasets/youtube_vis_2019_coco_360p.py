_base_ = ['./youtube_vis_2019_360p.py', './coco_source.py']
videos = _base_.train_dataloader.dataset
augment = dict(videos['augment'], rotate=dict(angle=15.0))
images = dict(_base_.coco_source, target='YouTubeVIS2019', augment=augment)
train_dataloader = dict(
    sampler=dict(ratios=[1.0, 0.75]),
    dataset=dict(
        _delete_=True, type='ConcatClipDataset', clip=videos['clip'], datasets=dict(coco=images, videos=videos)
    ),
)
