_base_ = './youtube_vis_2019_coco_360p.py'
augment = dict(short_edges=[320, 352, 384, 416, 448, 480, 512, 544, 576, 608, 640], max_edge=768)
train_dataloader = dict(
    sampler=dict(ratios=[1.0, 1.0]),
    dataset=dict(datasets=dict(coco=dict(augment=augment), videos=dict(augment=augment))),
)
val_dataloader = dict(dataset=dict(test=dict(short_edge=448, max_edge=1333)))
test_dataloader = val_dataloader
