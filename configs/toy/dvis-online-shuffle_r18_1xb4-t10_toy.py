_base_ = './dvis-online_r18_1xb4-t10_toy.py'
model = dict(tracker=dict(noise=dict(mode='shuffle', ratio=0.5, base='matched')))
