_base_ = './swin-b.py'
segmenter = dict(
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='checkpoints/swin_base_patch4_window12_384_22k.pth'))
)
