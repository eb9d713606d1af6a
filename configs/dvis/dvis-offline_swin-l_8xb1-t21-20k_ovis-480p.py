_base_ = [
    '../_base_/models/dvis-offline_swin-l.py',
    '../_base_/datasets/ovis_480p.py',
    '../_base_/schedules/schedule_20k.py',
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
        augment=dict(crop_first=dict(short_edges=[400, 500, 600], max_edge=1333, between=(384, 600), prob=0.5)),
    )
)
load_from = 'work_dirs/dvis-online_swin-l_8xb1-t5-20k_ovis-480p/iter_20000.pth'
