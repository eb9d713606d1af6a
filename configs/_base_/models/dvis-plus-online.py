_base_ = './dvis-plus-tracker.py'
model = dict(tracker=dict(noise=dict(mode='weighted', ratio=0.5, chain='noisy')))
