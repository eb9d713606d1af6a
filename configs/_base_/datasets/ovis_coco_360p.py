_base_ = ['./ovis_360p.py', './coco_source.py']
videos = dict(_base_.train_dataloader.dataset, filter_empty=False)
augment = dict(videos['augment'], max_edge=768, rotate=dict(angle=15.0))
images = dict(_base_.coco_source, target='OVIS', filter_empty=False, augment=augment)
train_dataloader = dict(
    sampler=dict(ratios=[1.0, 1.0]),
    dataset=dict(
        _delete_=True, type='ConcatClipDataset', clip=videos['clip'], datasets=dict(coco=images, videos=videos)
    ),
)
