# for converted weights of the first release
_base_ = './dvis-offline_r50_8xb1-t21-20k_vipseg-720p.py'
model = dict(tracker=dict(legacy_inverse_match=True))
