# the images of COCO in mixtures with videos
coco_source = dict(
    type='CocoInstanceClipDataset',
    data_root='data/coco/',
    ann_file='annotations/instances_train2017.json',
    data_prefix=dict(img='train2017'),
    filter_empty=True,
)
