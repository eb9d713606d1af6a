_base_ = [
    '../_base_/models/eomt.py',
    '../_base_/datasets/toy.py',
    '../_base_/schedules/schedule_toy.py',
    '../_base_/default_runtime.py',
]
model = dict(
    num_classes=_base_.num_classes,
    data_preprocessor=dict(divisor=8),
    segmenter=dict(
        backbone=dict(
            _delete_=True,
            type='DINOv2',
            arch=dict(channels=64, depth=6, num_heads=4, ffn='mlp'),
            patch_size=8,
            table=16,
            registers=4,
            frozen=False,
        ),
        num_queries=20,
        num_blocks=2,
        loss=dict(num_points=256),
    ),
    window=10,
    postprocessor=_base_.postprocessor,
)
