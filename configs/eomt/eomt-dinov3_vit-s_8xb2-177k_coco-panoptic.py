_base_ = [
    '../_base_/models/eomt-dinov3.py',
    '../_base_/backbones/eomt-dinov3-vit-s.py',
    '../_base_/datasets/coco_panoptic.py',
    '../_base_/schedules/schedule_eomt-dinov3-24e.py',
    '../_base_/default_runtime.py',
]
pretrained = 'checkpoints/dinov3_vits16_pretrain.pth'
model = dict(
    num_classes=_base_.num_classes,
    segmenter=dict(
        backbone=dict(arch=_base_.segmenter.backbone.arch, init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
        num_blocks=_base_.segmenter.num_blocks,
        anneal=dict(first_block=(0.0, 3000 / 177384)),
    ),
    postprocessor=_base_.postprocessor,
)
train_dataloader = dict(batch_size=2, dataset=dict(augment=dict(jitter=dict(size=640))))
val_dataloader = dict(dataset=dict(test=dict(short_edge=640, max_edge=640)))
test_dataloader = val_dataloader
optim_wrapper = dict(paramwise_cfg=dict(lr_mult=_base_.layer_rates))
