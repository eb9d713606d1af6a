_base_ = './youtube_vis_2021_coco_360p.py'
augment = dict(short_edges=[288, 320, 352, 384, 416, 448, 480, 512], max_edge=768)
train_dataloader = dict(dataset=dict(datasets=dict(coco=dict(augment=augment), videos=dict(augment=augment))))
