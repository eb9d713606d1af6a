_base_ = './swin-s.py'
segmenter = dict(
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='checkpoints/swin_small_patch4_window7_224.pth'))
)
