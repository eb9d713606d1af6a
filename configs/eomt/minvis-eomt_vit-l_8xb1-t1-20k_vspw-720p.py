_base_ = [
    '../_base_/models/eomt-vit-l.py',
    '../_base_/datasets/vspw_720p.py',
    '../_base_/schedules/schedule_20k.py',
    '../_base_/finetune_runtime.py',
]
model = dict(num_classes=_base_.num_classes, postprocessor=_base_.postprocessor)
optim_wrapper = dict(paramwise_cfg=dict(_delete_=True, lr_mult=_base_.layer_rates))
load_from = 'checkpoints/eomt_vit-l_coco-panoptic.pth'
