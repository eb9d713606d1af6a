_base_ = './eomt_vit_1xb8-t1_toy.py'
model = dict(
    segmenter=dict(type='VidEoMTSegmenter', loss=dict(matching='first_appearance')),
    tracker=dict(_delete_=True, type='FixedTracker'),
)
train_dataloader = dict(batch_size=2, dataset=dict(clip=dict(num_frames=4, frame_range=2)))
custom_hooks = [
    dict(type='CheckpointLoadingHook', required=('segmenter',), allow_mismatch=('segmenter.query_update',)),
    dict(type='ClassCountHook'),
]
load_from = 'work_dirs/eomt_vit_1xb8-t1_toy/iter_2800.pth'
optim_wrapper = dict(optimizer=dict(lr=3e-4))
train_cfg = dict(max_iters=1600)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='LinearLR', start_factor=1.0, end_factor=0.02, by_epoch=False, begin=800, end=1600),
]
