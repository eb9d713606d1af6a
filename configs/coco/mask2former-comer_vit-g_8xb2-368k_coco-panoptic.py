_base_ = './mask2former_vit-g_8xb2-368k_coco-panoptic.py'
model = dict(segmenter=dict(backbone=dict(mrfp=dict(ratio=0.5, residual=True))))
