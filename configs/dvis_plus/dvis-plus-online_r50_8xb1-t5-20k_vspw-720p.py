_base_ = [
    '../_base_/models/dvis-plus-online.py',
    '../_base_/datasets/vspw_720p.py',
    '../_base_/schedules/schedule_20k.py',
    '../_base_/default_runtime.py',
]
model = dict(num_classes=_base_.num_classes, tracker=dict(loss=dict(contrast=2.0)), postprocessor=_base_.postprocessor)
train_dataloader = dict(dataset=dict(clip=dict(num_frames=5)))
load_from = 'checkpoints/ctvis_r50_vspw-720p.pth'
