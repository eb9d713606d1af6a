_base_ = [
    '../_base_/models/dvis-online.py',
    '../_base_/datasets/ovis_360p.py',
    '../_base_/schedules/schedule_40k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    num_classes=_base_.num_classes,
    tracker=dict(noise=dict(mode='shuffle', ratio=0.5, base='matched')),
    postprocessor=_base_.postprocessor,
)
train_dataloader = dict(dataset=dict(clip=dict(num_frames=5)))
load_from = 'work_dirs/minvis_r50_8xb1-t1-20k_ovis-360p/iter_20000.pth'
