_base_ = [
    '../_base_/models/minvis_swin-l.py',
    '../_base_/datasets/coco_panoptic.py',
    '../_base_/schedules/schedule_coco-100e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    segmenter=dict(
        num_classes=_base_.num_classes,
        backbone=dict(
            init_cfg=dict(type='Pretrained', checkpoint='checkpoints/swin_large_patch4_window12_384_22k.pth')
        ),
    ),
    postprocessor=_base_.postprocessor,
)
train_dataloader = dict(batch_size=2)
