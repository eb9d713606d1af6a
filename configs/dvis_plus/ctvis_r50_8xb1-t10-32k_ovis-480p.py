_base_ = [
    '../_base_/models/ctvis.py',
    '../_base_/datasets/ovis_coco_480p-plus.py',
    '../_base_/schedules/schedule_32k.py',
    '../_base_/finetune_reid_runtime.py',
]
model = dict(num_classes=_base_.num_classes, postprocessor=_base_.postprocessor)
train_dataloader = dict(
    dataset=dict(clip=dict(num_frames=10, frame_range=15), augment=dict(crop_first=_base_.crop_first))
)
load_from = 'checkpoints/mask2former_r50_coco-instance.pth'
