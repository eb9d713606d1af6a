_base_ = [
    '../_base_/models/dvis-online.py',
    '../_base_/datasets/cityscapes_vps.py',
    '../_base_/schedules/schedule_20k.py',
    '../_base_/default_runtime.py',
]
model = dict(num_classes=_base_.num_classes, postprocessor=_base_.postprocessor)
train_dataloader = dict(dataset=dict(clip=dict(num_frames=5)))
load_from = 'work_dirs/minvis_r50_8xb1-t1-20k_cityscapes-vps-1024p/iter_20000.pth'
