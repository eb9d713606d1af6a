_base_ = [
    '../_base_/models/videomt-vit-l.py',
    '../_base_/datasets/vipseg.py',
    '../_base_/schedules/schedule_videomt-40k.py',
    '../_base_/finetune_videomt_runtime.py',
]
model = dict(
    num_classes=_base_.num_classes, segmenter=dict(backbone=dict(table=80)), postprocessor=_base_.postprocessor
)
optim_wrapper = dict(paramwise_cfg=dict(lr_mult=_base_.layer_rates))
train_dataloader = dict(dataset=dict(clip=dict(num_frames=5, frame_range=2)))
load_from = 'work_dirs/minvis-eomt_vit-l_8xb1-t1-20k_vipseg-720p/iter_20000.pth'
