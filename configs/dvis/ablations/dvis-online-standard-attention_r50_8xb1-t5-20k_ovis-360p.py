_base_ = '../dvis-online_r50_8xb1-t5-20k_ovis-360p.py'
model = dict(tracker=dict(decoder=dict(cross_attention='standard')))
