_base_ = [
    '../_base_/models/dvis-plus-online.py',
    '../_base_/datasets/ovis_coco_480p-plus.py',
    '../_base_/schedules/schedule_160k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    num_classes=_base_.num_classes,
    tracker=dict(noise=dict(ratio=0.8), loss=dict(contrast=2.0)),
    postprocessor=_base_.postprocessor,
)
train_dataloader = dict(dataset=dict(clip=dict(num_frames=5), augment=dict(crop_first=_base_.crop_first)))
load_from = 'checkpoints/ctvis_r50_ovis-480p.pth'
