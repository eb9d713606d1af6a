_base_ = './dvis-online_vit-g_8xb1-t5-40k_vipseg-720p.py'
model = dict(segmenter=dict(backbone=dict(mrfp=dict(ratio=0.5, residual=True))))
load_from = 'work_dirs/minvis-comer_vit-g_8xb2-t1-20k_vipseg-720p/iter_20000.pth'
