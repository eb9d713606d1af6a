_base_ = [
    '../_base_/models/minvis_vit-l.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/schedule_coco-100e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    segmenter=dict(
        num_classes=_base_.num_classes,
        backbone=dict(vit=dict(init_cfg=dict(type='Pretrained', checkpoint='checkpoints/dinov2_vitl14_pretrain.pth'))),
    ),
    postprocessor=_base_.postprocessor,
)
train_dataloader = dict(batch_size=2)
optim_wrapper = dict(paramwise_cfg=dict(lr_mult=dict(backbone=1.0)))  # the adapter is new; the transformer is frozen
