_base_ = [
    '../_base_/models/eomt-vit-s.py',
    '../_base_/datasets/youtube_vis_2019_coco_480p.py',
    '../_base_/schedules/schedule_20k.py',
    '../_base_/finetune_runtime.py',
]
model = dict(num_classes=_base_.num_classes, postprocessor=_base_.postprocessor)
optim_wrapper = dict(paramwise_cfg=dict(_delete_=True, lr_mult=_base_.layer_rates))
load_from = 'checkpoints/eomt_vit-s_coco-panoptic.pth'
