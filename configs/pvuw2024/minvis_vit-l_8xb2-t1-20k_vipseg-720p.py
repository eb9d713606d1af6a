_base_ = [
    '../_base_/models/minvis.py',
    '../_base_/backbones/vit-l.py',
    '../_base_/datasets/vipseg_pvuw2024.py',
    '../_base_/schedules/schedule_20k.py',
    '../_base_/finetune_runtime.py',
]
model = dict(num_classes=_base_.num_classes, segmenter=_base_.segmenter, postprocessor=_base_.postprocessor)
train_dataloader = dict(batch_size=2, dataset=dict(augment=dict(crop=dict(size=(604, 604)))))
load_from = 'work_dirs/mask2former_vit-l_8xb2-368k_coco-panoptic/iter_368750.pth'
auto_scale_lr = dict(base_batch_size=16)
