# starts from the segmenter of DVIS++: ctvis_r50_8xb2-t5-20k_vipseg-720p.py, or the released one, converted
_base_ = [
    '../_base_/models/dvis-plus-online.py',
    '../_base_/datasets/vipseg.py',
    '../_base_/schedules/schedule_20k.py',
    '../_base_/default_runtime.py',
]
model = dict(num_classes=_base_.num_classes, postprocessor=_base_.postprocessor)
train_dataloader = dict(dataset=dict(clip=dict(num_frames=5)))
load_from = 'checkpoints/ctvis_r50_vipseg-720p.pth'
