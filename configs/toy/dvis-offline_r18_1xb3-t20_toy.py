_base_ = [
    '../_base_/models/dvis-offline_toy.py', '../_base_/datasets/toy.py', '../_base_/schedules/schedule_toy.py',
    '../_base_/default_runtime.py'
]
model = dict(
    segmenter=dict(num_classes=_base_.num_classes),
    tracker=dict(num_classes=_base_.num_classes),
    refiner=dict(num_classes=_base_.num_classes),
    postprocessor=_base_.postprocessor)
train_dataloader = dict(batch_size=3, dataset=dict(clip=dict(num_frames=20, reverse=0.5)))
load_from = 'work_dirs/dvis-online_r18_1xb4-t10_toy/iter_1300.pth'
