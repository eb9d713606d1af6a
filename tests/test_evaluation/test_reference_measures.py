"""Metrics of DAVIS and CamVid against reference implementations that read the saved results."""

import numpy as np
import pytest
import torch
from helpers.davis_camvid import camvid, davis, instances, stems_of, write_camvid, write_davis
from helpers.official_layouts import scene
from helpers.reference_measures import camvid_figures, davis_figures
from PIL import Image

from mmdvis.registry import METRICS
from mmdvis.results import ClassInfo, VideoSemantic


def scored_and_saved(metric, samples, dataset, folder):
    """Evaluates a metric, writes the same predictions with ``SubmissionWriter``, and returns the metrics."""
    writer = METRICS.build(dict(type='SubmissionWriter', out_dir=str(folder)))
    for part in (metric, writer):
        part.dataset_meta = dataset.metainfo
        part.process({}, samples)
    writer.evaluate(len(samples))
    return metric.evaluate(len(samples))


@pytest.mark.parametrize('seed', range(3))
def test_figures_of_random_masks_equal_the_reference(seed, tmp_path):
    root, rng, samples = write_davis(tmp_path / 'davis'), np.random.default_rng(seed), []
    frames = [f'{t:05d}.jpg' for t in range(8)]
    for k, name in enumerate(('camel', 'swing')):
        _, maps = scene(210 + k, frames=8)
        tracks = np.stack([((maps >= 1) & (maps <= 3)) ^ (rng.random(maps.shape) < share) for share in (0.1, 0.3)])
        tracks &= rng.random((2, 8, 1, 1)) < 0.8
        result = instances(tracks, rng.uniform(0.3, 0.9, 2))
        samples.append(dict(video_id=name, frame_names=frames, pred_instances=result))
    metric = METRICS.build(dict(type='DAVISMetric', gt_dir=str(root / 'Annotations' / '480p')))
    measured = scored_and_saved(metric, samples, davis(root, 'val'), tmp_path / 'results')
    files = tmp_path / 'results' / 'results.json', root / 'Annotations' / '480p'
    figures = davis_figures(*files, ['camel', 'swing'])
    assert figures == pytest.approx({key: measured[key] for key in figures}, abs=1e-12) and figures['J_mean'] > 0.1


@pytest.mark.parametrize('seed', range(3))
def test_figures_of_random_labels_equal_the_reference(seed, tmp_path):
    root, rng, samples = write_camvid(tmp_path / 'camvid', frames=20), np.random.default_rng(seed), []
    dataset = camvid(root, 'test', test_mode=True)
    videos = stems_of(dataset)
    for name, frames in videos.items():
        truth = [np.array(Image.open(root / 'testannot' / f'{frame}.png')) for frame in frames]
        labels = np.where(rng.random((len(frames), 40, 56)) < 0.02, rng.integers(0, 11, (len(frames), 40, 56)), truth)
        result = VideoSemantic(torch.from_numpy(labels.clip(0, 10).astype(np.uint8)), ClassInfo.numbered(11))
        names = [f'{frame}.png' for frame in frames]
        samples.append(dict(video_id=name, frame_names=names, pred_semantic=result))
    metric = METRICS.build(dict(type='VSSMetric', gt_dir=str(root / 'testannot'), first_value=0))
    measured = scored_and_saved(metric, samples, dataset, tmp_path / 'results')
    figures = camvid_figures(tmp_path / 'results', root / 'testannot', videos)
    assert figures == pytest.approx({key: measured[key] for key in figures}, abs=1e-12)
    assert sorted(figures) == ['VC16', 'VC8', 'mIoU'] and all(0.2 < value < 0.99 for value in figures.values())
