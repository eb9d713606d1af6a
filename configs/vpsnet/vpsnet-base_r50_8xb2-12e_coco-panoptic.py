_base_ = [
    '../_base_/models/vpsnet.py',
    '../_base_/models/vpsnet_variants.py',
    '../_base_/datasets/coco_panoptic.py',
    '../_base_/schedules/schedule_sgd_coco-12e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    num_classes=_base_.num_classes,
    panoptic=dict(num_things=80),
    fuse=_base_.fuse.base,
    tracking=_base_.tracking.cls_sort,
    detector=dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'))),
)
train_dataloader = dict(
    batch_size=2, dataset=dict(augment=dict(_delete_=True, short_edges=[800], max_edge=1333, flip=0.5))
)
