_base_ = [
    '../_base_/models/ctvis.py',
    '../_base_/datasets/vspw_720p.py',
    '../_base_/schedules/schedule_20k_two-steps.py',
    '../_base_/finetune_reid_runtime.py',
]
model = dict(num_classes=_base_.num_classes, postprocessor=_base_.postprocessor)
train_dataloader = dict(batch_size=2, dataset=dict(clip=dict(num_frames=4, frame_range=8)))
load_from = 'checkpoints/mask2former_r50_coco-instance.pth'
