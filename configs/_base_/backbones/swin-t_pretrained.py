_base_ = './swin-t.py'
segmenter = dict(
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='checkpoints/swin_tiny_patch4_window7_224.pth'))
)
