_base_ = './vit-l.py'
segmenter = dict(
    backbone=dict(vit=dict(init_cfg=dict(type='Pretrained', checkpoint='checkpoints/dinov2_vitl14_pretrain.pth')))
)
