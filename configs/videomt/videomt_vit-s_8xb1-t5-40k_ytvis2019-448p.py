_base_ = [
    '../_base_/models/videomt-vit-s.py',
    '../_base_/datasets/youtube_vis_2019_coco_448p.py',
    '../_base_/schedules/schedule_videomt-40k.py',
    '../_base_/finetune_videomt_runtime.py',
]
model = dict(num_classes=_base_.num_classes, postprocessor=_base_.postprocessor)
optim_wrapper = dict(paramwise_cfg=dict(lr_mult=_base_.layer_rates))
train_dataloader = dict(dataset=dict(clip=dict(num_frames=5, frame_range=2)))
load_from = 'work_dirs/minvis-eomt_vit-s_8xb1-t1-20k_ytvis2019-480p/iter_20000.pth'
