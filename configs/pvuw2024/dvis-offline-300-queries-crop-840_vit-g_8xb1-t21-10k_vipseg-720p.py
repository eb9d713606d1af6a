_base_ = './dvis-offline-crop-840_vit-g_8xb1-t21-10k_vipseg-720p.py'
model = dict(segmenter=dict(num_queries=300))
load_from = 'work_dirs/dvis-offline-300-queries_vit-g_8xb1-t21-40k_vipseg-720p/iter_40000.pth'
