_base_ = [
    '../_base_/models/dvis-online.py',
    '../_base_/backbones/swin-l.py',
    '../_base_/datasets/youtube_vis_2019_coco_480p.py',
    '../_base_/schedules/schedule_40k.py',
    '../_base_/default_runtime.py',
]
model = dict(num_classes=_base_.num_classes, segmenter=_base_.segmenter, postprocessor=_base_.postprocessor)
train_dataloader = dict(dataset=dict(clip=dict(num_frames=5)))
load_from = 'work_dirs/minvis_swin-l_8xb1-t1-20k_ytvis2019-480p/iter_20000.pth'
