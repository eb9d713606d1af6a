_base_ = './dvis-offline_vit-g_8xb1-t21-40k_vipseg-720p.py'
model = dict(segmenter=dict(backbone=dict(mrfp=dict(ratio=0.5, residual=True))))
load_from = 'work_dirs/dvis-online-comer_vit-g_8xb1-t5-40k_vipseg-720p/iter_40000.pth'
