_base_ = [
    '../_base_/models/minvis_toy.py',
    '../_base_/datasets/toy.py',
    '../_base_/schedules/schedule_toy.py',
    '../_base_/finetune_reid_runtime.py',
]
model = dict(
    num_classes=_base_.num_classes,
    segmenter=dict(reid=dict(contrast=2.0, cosine=3.0)),
    tracker=dict(last_channels=64),
    postprocessor=_base_.postprocessor,
)
train_dataloader = dict(batch_size=2, dataset=dict(clip=dict(num_frames=4, frame_range=8)))
load_from = 'work_dirs/minvis_r18_1xb8-t1_toy/iter_2800.pth'
optim_wrapper = dict(optimizer=dict(lr=3e-4))
train_cfg = dict(max_iters=800)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='LinearLR', start_factor=1.0, end_factor=0.02, by_epoch=False, begin=400, end=800),
]
