_base_ = [
    '../_base_/models/dvis-offline.py',
    '../_base_/backbones/swin-l.py',
    '../_base_/datasets/ovis_480p.py',
    '../_base_/schedules/schedule_20k.py',
    '../_base_/default_runtime.py',
]
model = dict(num_classes=_base_.num_classes, segmenter=_base_.segmenter, postprocessor=_base_.postprocessor)
train_dataloader = dict(dataset=dict(clip=dict(num_frames=21, reverse=0.5), augment=dict(crop_first=_base_.crop_first)))
load_from = 'work_dirs/dvis-online_swin-l_8xb1-t5-20k_ovis-480p/iter_20000.pth'
