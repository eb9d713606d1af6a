_base_ = '../dvis-offline_r50_8xb1-t21-20k_ovis-360p.py'
model = dict(tracker=dict(decoder=dict(num_layers=9)), refiner=dict(decoder=dict(num_layers=9)))
load_from = 'work_dirs/dvis-online-9-layers_r50_8xb1-t5-20k_ovis-360p/iter_20000.pth'
