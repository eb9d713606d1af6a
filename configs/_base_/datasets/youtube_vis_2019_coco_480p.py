_base_ = './youtube_vis_2019_coco_360p.py'
edges = dict(short_edges=[360, 480, 600], max_edge=1024)
images = dict(augment=dict(edges, max_edge=768))
train_dataloader = dict(dataset=dict(datasets=dict(coco=images, videos=dict(augment=edges))))
val_dataloader = dict(dataset=dict(test=dict(short_edge=480, max_edge=1333)))
test_dataloader = val_dataloader
