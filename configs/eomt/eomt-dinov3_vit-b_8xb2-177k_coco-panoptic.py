_base_ = [
    '../_base_/models/eomt-dinov3-vit-b.py',
    '../_base_/datasets/coco_panoptic-eomt.py',
    '../_base_/schedules/schedule_eomt-dinov3-24e.py',
    '../_base_/default_runtime.py',
]
pretrained = 'checkpoints/dinov3_vitb16_pretrain.pth'
model = dict(
    num_classes=_base_.num_classes,
    segmenter=dict(
        backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
        anneal=dict(first_block=(0.0, 3000 / 177384)),
    ),
    postprocessor=_base_.postprocessor,
)
optim_wrapper = dict(paramwise_cfg=dict(lr_mult=_base_.layer_rates))
