# Swin-S, 224 pixels, window 7: Swin-T with a deeper third stage
_base_ = './swin-t.py'
segmenter = dict(backbone=dict(depths=(2, 2, 18, 2)))
