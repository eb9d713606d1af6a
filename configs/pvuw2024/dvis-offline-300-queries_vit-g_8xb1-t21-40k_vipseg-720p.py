_base_ = './dvis-offline_vit-g_8xb1-t21-40k_vipseg-720p.py'
model = dict(segmenter=dict(num_queries=300))
load_from = 'work_dirs/dvis-online-300-queries_vit-g_8xb1-t5-40k_vipseg-720p/iter_40000.pth'
