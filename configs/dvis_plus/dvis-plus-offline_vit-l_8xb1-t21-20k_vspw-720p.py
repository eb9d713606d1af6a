_base_ = [
    '../_base_/models/dvis-plus-offline.py',
    '../_base_/backbones/vit-l.py',
    '../_base_/datasets/vspw_720p.py',
    '../_base_/schedules/schedule_20k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    num_classes=_base_.num_classes,
    segmenter=_base_.segmenter,
    refiner=dict(loss=dict(contrast=2.0)),
    postprocessor=_base_.postprocessor,
)
train_dataloader = dict(
    dataset=dict(clip=dict(num_frames=21, reverse=0.5), augment=dict(crop=dict(between=(600, 720))))
)
load_from = 'work_dirs/dvis-plus-online_vit-l_8xb1-t5-20k_vspw-720p/iter_20000.pth'
