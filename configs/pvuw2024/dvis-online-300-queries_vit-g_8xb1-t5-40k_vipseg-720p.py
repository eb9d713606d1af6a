_base_ = './dvis-online_vit-g_8xb1-t5-40k_vipseg-720p.py'
model = dict(segmenter=dict(num_queries=300))
load_from = 'work_dirs/minvis-300-queries_vit-g_8xb2-t1-20k_vipseg-720p/iter_20000.pth'
