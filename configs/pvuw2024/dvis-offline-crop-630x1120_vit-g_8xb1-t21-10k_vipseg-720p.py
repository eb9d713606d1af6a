_base_ = [
    '../_base_/models/dvis-offline.py',
    '../_base_/backbones/vit-g.py',
    '../_base_/datasets/vipseg_pvuw2024.py',
    '../_base_/schedules/schedule_10k-finetune.py',
    '../_base_/default_runtime.py',
]
model = dict(
    num_classes=_base_.num_classes,
    segmenter=_base_.segmenter,
    refiner=dict(loss=dict(guided=0.0)),
    postprocessor=_base_.postprocessor,
)
train_dataloader = dict(dataset=dict(clip=dict(num_frames=21, reverse=0.5), augment=dict(crop=dict(size=(630, 1120)))))
load_from = 'work_dirs/dvis-offline_vit-g_8xb1-t21-40k_vipseg-720p/iter_40000.pth'
