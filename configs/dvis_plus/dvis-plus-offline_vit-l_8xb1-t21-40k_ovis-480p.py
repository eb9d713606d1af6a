_base_ = [
    '../_base_/models/dvis-plus-offline_vit-l.py',
    '../_base_/datasets/ovis_coco_480p-plus.py',
    '../_base_/schedules/schedule_40k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    segmenter=dict(num_classes=_base_.num_classes),
    tracker=dict(num_classes=_base_.num_classes),
    refiner=dict(num_classes=_base_.num_classes),
    postprocessor=_base_.postprocessor,
)
train_dataloader = dict(
    dataset=dict(
        clip=dict(num_frames=21, reverse=0.5),
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
load_from = 'work_dirs/dvis-plus-online_vit-l_8xb1-t5-40k_ovis-480p/iter_40000.pth'
