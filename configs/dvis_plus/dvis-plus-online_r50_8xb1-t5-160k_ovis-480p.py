_base_ = [
    '../_base_/models/dvis-plus-online_r50.py',
    '../_base_/datasets/ovis_coco_480p-plus.py',
    '../_base_/schedules/schedule_160k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    segmenter=dict(num_classes=_base_.num_classes),
    tracker=dict(num_classes=_base_.num_classes, noise=dict(mode='weighted', ratio=0.8), loss=dict(contrast=2.0)),
    postprocessor=_base_.postprocessor,
)
train_dataloader = dict(
    dataset=dict(
        clip=dict(num_frames=5),
        datasets=dict(
            coco=dict(
                augment=dict(crop_first=dict(short_edges=[400, 500, 600], max_edge=1333, between=(384, 600), prob=0.5))
            ),
            videos=dict(
                augment=dict(crop_first=dict(short_edges=[400, 500, 600], max_edge=1333, between=(384, 600), prob=0.5))
            ),
        ),
    )
)
load_from = 'checkpoints/ctvis_r50_ovis-480p.pth'
