# images of 640 pixels, two for each GPU
_base_ = './coco_panoptic.py'
train_dataloader = dict(batch_size=2, dataset=dict(augment=dict(jitter=dict(size=640))))
val_dataloader = dict(dataset=dict(test=dict(short_edge=640, max_edge=640)))
test_dataloader = val_dataloader
