"""The VPQ and STQ metrics in mmengine loops, on perfect and damaged predictions."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mmdvis.evaluation.files.panoptic_files import vipseg_ground_truth
from mmdvis.evaluation.files.pngs import read_ids
from mmdvis.evaluation.metrics import STQMetric, VPQMetric
from mmdvis.results import ClassInfo, VideoDataSample, VideoPanoptic
from mmdvis.structures import Segment


def paths(root):
    return dict(gt_json=str(root / 'panoptic_gt_VIPSeg_val.json'), gt_dir=str(root / 'panomasksRGB'))


def sample(video_id, maps, segments):
    result = VideoPanoptic(torch.from_numpy(np.stack(maps).astype(np.int32)), tuple(segments), ClassInfo.numbered(11))
    return result.pack(VideoDataSample(metainfo=dict(video_id=video_id))).to_dict()


def perfect(root):
    """Return the ground truth as predictions."""
    gt = vipseg_ground_truth(*(Path(path) for path in paths(root).values()))
    samples = []
    for name, frames in gt.videos.items():
        labels = {s['id']: s['category_id'] for f in frames for s in f.segments}
        samples.append(
            sample(
                name,
                [read_ids(f.path) for f in frames],
                [Segment(i, 0, c, gt.is_thing[c], 1.0) for i, c in labels.items()],
            )
        )
    return samples


def run(metric, samples):
    metric.dataset_meta = dict(category_ids=tuple(range(11)))
    metric.process(None, samples)
    return metric.evaluate(len(samples))


def test_the_truth_is_perfect(toy_root):
    vpq = run(VPQMetric(**paths(toy_root)), perfect(toy_root))
    for name in ('VPQ', 'VPQ_Th', 'VPQ_St', 'VPQ1', 'VPQ6_Th', 'VPQ_12468'):
        assert np.isnan(vpq[name]) if name == 'VPQ_12468' else vpq[name] == pytest.approx(1.0)
    stq = run(STQMetric(**paths(toy_root)), perfect(toy_root))
    assert [stq[f'{n}_corrected'] for n in ('STQ', 'AQ', 'SQ')] == pytest.approx([1.0, 1.0, 1.0])
    assert stq['SQ'] == pytest.approx(1.0)


def test_windows_are_an_option(toy_root):
    vpq = run(VPQMetric(windows=(2, 3), **paths(toy_root)), perfect(toy_root))
    assert vpq['VPQ3'] == pytest.approx(1.0) and 'VPQ1' not in vpq
    with pytest.raises(ValueError, match=r'at least one frame, got \(0, 2\)'):
        VPQMetric(windows=(0, 2), **paths(toy_root))


def broken(root):
    """Return the ground truth with a new id for every thing in the second half of each video."""
    samples = []
    for s in perfect(root):
        maps, segments = s['pred_panoptic'].id_map.numpy().copy(), list(s['pred_panoptic'].segments)
        half = maps[len(maps) // 2 :]
        things = [x for x in segments if x.is_thing]
        for x in things:
            half[half == x.id] = x.id + 1000
        segments += [Segment(x.id + 1000, 0, x.label, True, 1.0) for x in things]
        samples.append(sample(s['video_id'], list(maps), segments))
    return samples


def test_new_identities_cost_association(toy_root):
    figures = run(STQMetric(**paths(toy_root)), broken(toy_root))
    assert figures['AQ_corrected'] < 0.8 and figures['SQ_corrected'] == pytest.approx(1.0)


def test_category_ids_need_not_be_labels(toy_root):
    """Labels are contiguous; category ids are those of the json."""
    metric, samples = VPQMetric(**paths(toy_root)), perfect(toy_root)
    metric.dataset_meta = dict(category_ids=tuple(range(10, -1, -1)))  # labels map to category ids in reverse order
    metric.process(None, samples)
    assert metric.evaluate(len(samples))['VPQ'] < 0.2


def test_predictions_that_do_not_fit(toy_root):
    metric = VPQMetric(**paths(toy_root))
    metric.dataset_meta = dict(category_ids=tuple(range(11)))
    good = perfect(toy_root)[0]
    maps, segments = good['pred_panoptic'].id_map.numpy(), good['pred_panoptic'].segments
    with pytest.raises(ValueError, match='video val_0000 has 7 frames, but the prediction has 6'):
        metric.process(None, [sample('val_0000', list(maps[:6]), segments)])
    with pytest.raises(ValueError, match='the ground truth has no video other'):
        metric.process(None, [sample('other', list(maps), segments)])


def test_a_split_without_truth_cannot_be_scored(toy_root, tmp_path):
    content = json.loads((toy_root / 'panoptic_gt_VIPSeg_val.json').read_text())
    content.pop('annotations')
    (tmp_path / 'test.json').write_text(json.dumps(content))
    with pytest.raises(ValueError, match='nothing to score against'):
        VPQMetric(gt_json=str(tmp_path / 'test.json'), gt_dir=str(tmp_path))
