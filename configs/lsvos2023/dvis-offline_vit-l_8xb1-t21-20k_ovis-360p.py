_base_ = [
    '../_base_/models/dvis-offline.py',
    '../_base_/backbones/vit-l.py',
    '../_base_/datasets/ovis_360p-vit.py',
    '../_base_/schedules/schedule_20k.py',
    '../_base_/default_runtime.py',
]
model = dict(num_classes=_base_.num_classes, segmenter=_base_.segmenter, postprocessor=_base_.postprocessor)
train_dataloader = dict(dataset=dict(clip=dict(num_frames=21, reverse=0.5), augment=dict(crop_first=_base_.crop_first)))
load_from = 'work_dirs/dvis-online_vit-l_8xb1-t5-40k_ovis-360p/iter_40000.pth'
