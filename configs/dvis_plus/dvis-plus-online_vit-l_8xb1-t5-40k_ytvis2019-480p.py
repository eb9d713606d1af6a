_base_ = [
    '../_base_/models/dvis-plus-online.py',
    '../_base_/backbones/vit-l.py',
    '../_base_/datasets/youtube_vis_2019_coco_480p-plus.py',
    '../_base_/schedules/schedule_40k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    num_classes=_base_.num_classes,
    segmenter=_base_.segmenter,
    tracker=dict(loss=dict(contrast=2.0)),
    postprocessor=_base_.postprocessor,
)
train_dataloader = dict(dataset=dict(clip=dict(num_frames=5)))
load_from = 'checkpoints/ctvis_vit-l_ytvis2019-480p.pth'
