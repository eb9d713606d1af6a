_base_ = [
    '../_base_/models/dvis-plus-offline.py',
    '../_base_/datasets/youtube_vis_2019_coco_480p-plus.py',
    '../_base_/schedules/schedule_40k.py',
    '../_base_/default_runtime.py',
]
model = dict(num_classes=_base_.num_classes, refiner=dict(loss=dict(contrast=2.0)), postprocessor=_base_.postprocessor)
train_dataloader = dict(dataset=dict(clip=dict(num_frames=15, reverse=0.5)))
load_from = 'work_dirs/dvis-plus-online_r50_8xb1-t5-40k_ytvis2019-480p/iter_40000.pth'
