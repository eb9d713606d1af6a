_base_ = './ovis_coco_360p.py'
augment = dict(short_edges=[320, 352, 384, 416, 448, 480, 512, 544, 576, 608, 640], max_edge=768)
source = dict(filter_empty=True, augment=augment)
train_dataloader = dict(dataset=dict(datasets=dict(coco=source, videos=source)))
val_dataloader = dict(dataset=dict(test=dict(short_edge=544, max_edge=1333)))
test_dataloader = val_dataloader
