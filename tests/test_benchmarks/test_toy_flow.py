"""The true flow of synthetic videos leads from every visible point to the same point in the other frame."""

import sys

import numpy as np
import torch
from helpers.commands import load

from mmdvis.datasets.toy.scene import SCENES, SceneOptions, draw_scene, render
from mmdvis.io import FlowFiles


def test_the_flow_leads_to_the_same_object_and_colour(tmp_path, monkeypatch):
    tool = load('benchmarks/toy_flow.py')
    options = SceneOptions(reach=(14.0, 26.0), period=(14.0, 22.0), blots=(0, 0), noise=0.0)
    scene = draw_scene(np.random.default_rng(1), options)
    (before, old), (after, new) = (render(scene, t, np.random.default_rng(0)) for t in (4, 5))
    flow = tool.true_flow(scene, new, 5, 4)
    rows, columns = np.mgrid[: new.shape[0], : new.shape[1]]
    y, x = np.rint(rows + flow[1]).astype(int), np.rint(columns + flow[0]).astype(int)
    inside = (x >= 0) & (x < new.shape[1]) & (y >= 0) & (y < new.shape[0])
    y, x = y.clip(0, new.shape[0] - 1), x.clip(0, new.shape[1] - 1)
    is_same = inside & (old[y, x] == new)  # others were hidden
    assert is_same[new < 200].mean() > 0.8 and is_same.mean() > 0.85
    colours = abs(before[y, x].astype(int) - after)[is_same].mean()
    assert colours < 0.4 * abs(before.astype(int) - after)[is_same].mean()
    monkeypatch.setattr(sys, 'argv', ['toy_flow.py', str(tmp_path), '--num-val', '1'])
    tool.main()
    assert len(list(tmp_path.rglob('*.flo'))) == SCENES['blots'].num_frames
    frames, names = torch.zeros(2, 3, 96, 160), ('val_0000', '00000001.png', '00000000.png')  # as in the dataset
    flow = FlowFiles(str(tmp_path))(frames[1], frames[:1], names)
    assert flow.shape == (1, 2, 24, 40) and flow.any()
    assert not FlowFiles(str(tmp_path))(frames[0], frames[:1], ('val_0000', *names[2:] * 2)).abs().gt(1e-5).any()
