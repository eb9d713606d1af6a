_base_ = './dvis-online-no-noise_r50_8xb1-t5-40k_ovis-360p.py'
model = dict(tracker=dict(noise=dict(mode='shuffle', ratio=0.5, base='matched')))
