_base_ = [
    '../_base_/models/minvis.py',
    '../_base_/datasets/ovis_360p.py',
    '../_base_/schedules/schedule_20k.py',
    '../_base_/finetune_runtime.py',
]
model = dict(num_classes=_base_.num_classes, postprocessor=dict(_base_.postprocessor, max_num=10))
load_from = 'checkpoints/mask2former_r50_coco-instance.pth'
