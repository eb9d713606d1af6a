# reduced by half, as the report says
_base_ = [
    '../_base_/models/dvis-online.py',
    '../_base_/backbones/swin-l.py',
    '../_base_/datasets/vipseg_pvuw2024.py',
    '../_base_/schedules/schedule_40k.py',
    '../_base_/default_runtime.py',
]
model = dict(num_classes=_base_.num_classes, segmenter=_base_.segmenter, postprocessor=_base_.postprocessor)
train_dataloader = dict(dataset=dict(clip=dict(num_frames=5), augment=dict(crop=dict(size=(604, 604)))))
load_from = 'work_dirs/minvis_swin-l_8xb2-t1-20k_vipseg-720p/iter_20000.pth'
param_scheduler = dict(gamma=0.5)
