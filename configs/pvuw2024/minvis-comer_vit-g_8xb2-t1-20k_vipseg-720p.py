_base_ = './minvis_vit-g_8xb2-t1-20k_vipseg-720p.py'
model = dict(segmenter=dict(backbone=dict(mrfp=dict(ratio=0.5, residual=True))))
load_from = 'work_dirs/mask2former-comer_vit-g_8xb2-368k_coco-panoptic/iter_368750.pth'
