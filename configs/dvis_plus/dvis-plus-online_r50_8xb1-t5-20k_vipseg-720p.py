# the segmenter of DVIS++, which cannot be trained here, converted by tools/model_converters/detectron2_to_mmdvis.py
_base_ = [
    '../_base_/models/dvis-plus-online.py',
    '../_base_/datasets/vipseg.py',
    '../_base_/schedules/schedule_20k.py',
    '../_base_/default_runtime.py',
]
model = dict(num_classes=_base_.num_classes, postprocessor=_base_.postprocessor)
train_dataloader = dict(dataset=dict(clip=dict(num_frames=5)))
load_from = 'checkpoints/ctvis_r50_vipseg-720p.pth'
