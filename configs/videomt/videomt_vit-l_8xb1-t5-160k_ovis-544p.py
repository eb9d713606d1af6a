_base_ = [
    '../_base_/models/videomt-vit-l.py',
    '../_base_/datasets/ovis_coco_544p.py',
    '../_base_/schedules/schedule_videomt-160k.py',
    '../_base_/finetune_videomt_runtime.py',
]
model = dict(num_classes=_base_.num_classes, postprocessor=dict(_base_.postprocessor, max_num=10))
optim_wrapper = dict(paramwise_cfg=dict(lr_mult=_base_.layer_rates))
train_dataloader = dict(
    dataset=dict(clip=dict(num_frames=5, frame_range=2), augment=dict(crop_first=_base_.crop_first))
)
load_from = 'work_dirs/minvis-eomt_vit-l_8xb1-t1-20k_ovis-480p/iter_20000.pth'
