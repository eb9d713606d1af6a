_base_ = ['./dvis-online_r50.py', '../backbones/vit-g.py']
model = dict(segmenter=dict(backbone=_base_.backbone, in_channels=_base_.in_channels, num_queries=_base_.num_queries))
