_base_ = [
    '../_base_/models/minvis.py',
    '../_base_/datasets/viper_vps.py',
    '../_base_/schedules/schedule_20k.py',
    '../_base_/finetune_runtime.py',
]
model = dict(num_classes=_base_.num_classes, postprocessor=_base_.postprocessor)
load_from = 'checkpoints/mask2former_r50_coco-panoptic.pth'
