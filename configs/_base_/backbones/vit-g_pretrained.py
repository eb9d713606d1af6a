_base_ = './vit-g.py'
segmenter = dict(
    backbone=dict(vit=dict(init_cfg=dict(type='Pretrained', checkpoint='checkpoints/dinov2_vitg14_pretrain.pth')))
)
