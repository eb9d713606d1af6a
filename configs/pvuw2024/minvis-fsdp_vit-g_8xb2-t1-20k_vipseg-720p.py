_base_ = './minvis_vit-g_8xb2-t1-20k_vipseg-720p.py'
runner_type = 'ShardedRunner'
strategy = dict(type='mmdvis.ShardedStrategy', units=('Block',))
optim_wrapper = dict(type='BFloat16OptimWrapper')
