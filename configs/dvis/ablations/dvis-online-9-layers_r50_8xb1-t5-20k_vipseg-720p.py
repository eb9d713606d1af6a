_base_ = '../dvis-online_r50_8xb1-t5-20k_vipseg-720p.py'
model = dict(tracker=dict(decoder=dict(num_layers=9)))
