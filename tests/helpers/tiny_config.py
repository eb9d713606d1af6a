"""Configs of the three stages on toy videos, small enough to train in a test."""

from pathlib import Path

from .commands import ROOT

STAGES = dict(
    minvis='minvis_r18_1xb8-t1_toy', online='dvis-online_r18_1xb4-t10_toy', offline='dvis-offline_r18_1xb3-t20_toy'
)
SMALLER = """
_base_ = '{base}'
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, prefetch_factor=None,
                        dataset=dict(data_root='{data}', clip=dict(num_frames={frames})))
test_dataloader = dict(dataset=dict(data_root='{data}'))
truth = dict(gt_json='{data}/panoptic_gt_VIPSeg_val.json', gt_dir='{data}/panomasksRGB')
test_evaluator = [dict(type='VPQMetric', **truth), dict(type='STQMetric', **truth)]
train_cfg = dict(max_iters={iters})
param_scheduler = [dict(type='ConstantLR', factor=1.0, by_epoch=False)]
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval={iters}))
randomness = dict(seed=0)
model = dict(segmenter=dict(backbone=dict(base_channels=8), in_channels=(8, 16, 32, 64), num_queries=8,
                            decoder=dict(num_layers=2), loss=dict(num_points=32)))
load_from = {load_from!r}
"""


def write(folder, stage, data, iters=2, load_from=None):
    """Write the config of a stage and return its path."""
    frames = dict(minvis=1, online=3, offline=4)[stage]
    text = SMALLER.format(
        base=ROOT / 'configs' / 'toy' / f'{STAGES[stage]}.py',
        data=data,
        frames=frames,
        iters=iters,
        load_from=None if load_from is None else str(load_from),
    )
    path = Path(folder) / f'{stage}.py'
    path.write_text(text)
    return path
