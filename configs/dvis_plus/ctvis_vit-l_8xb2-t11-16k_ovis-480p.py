_base_ = [
    '../_base_/models/ctvis.py',
    '../_base_/backbones/vit-l.py',
    '../_base_/datasets/ovis_coco_480p-plus.py',
    '../_base_/schedules/schedule_16k.py',
    '../_base_/finetune_reid_runtime.py',
]
model = dict(num_classes=_base_.num_classes, segmenter=_base_.segmenter, postprocessor=_base_.postprocessor)
train_dataloader = dict(
    batch_size=2, dataset=dict(clip=dict(num_frames=11, frame_range=5), augment=dict(crop_first=_base_.crop_first))
)
load_from = 'checkpoints/mask2former_vit-l_coco-instance.pth'
