_base_ = '../dvis-offline_r50_8xb1-t21-20k_vipseg-720p.py'
model = dict(refiner=dict(decoder=dict(num_layers=9)))
