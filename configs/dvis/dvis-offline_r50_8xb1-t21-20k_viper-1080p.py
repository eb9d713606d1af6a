_base_ = [
    '../_base_/models/dvis-offline.py',
    '../_base_/datasets/viper_vps.py',
    '../_base_/schedules/schedule_20k.py',
    '../_base_/default_runtime.py',
]
model = dict(num_classes=_base_.num_classes, postprocessor=_base_.postprocessor)
train_dataloader = dict(dataset=dict(clip=dict(num_frames=21, reverse=0.5), augment=dict(crop=dict(size=(608, 608)))))
load_from = 'work_dirs/dvis-online_r50_8xb1-t5-20k_viper-1080p/iter_20000.pth'
