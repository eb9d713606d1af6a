# VidEoMT: the queries of EoMT are carried from frame to frame, so that query q of all frames is one object
_base_ = './eomt.py'
model = dict(
    data_preprocessor=dict(divisor=32),
    segmenter=dict(type='VidEoMTSegmenter', loss=dict(matching='first_appearance')),
    tracker=dict(type='FixedTracker'),
)
