"""The summary table of the toy recipe."""

import json

import av
import numpy as np
import pytest
from helpers import tiny
from PIL import Image

from mmdvis.analysis.toy_report import METRIC_COLUMNS, compare_video, match_ids, row_of, summary_table, write_summary
from mmdvis.registry import DATASETS


def metrics(offset=0.0):
    names = [*METRIC_COLUMNS, 'STQ_corrected', 'AQ_corrected', 'SQ_corrected']
    return {name: 0.01 * k + offset for k, name in enumerate(names)}


def test_rows_show_the_corrected_numbering():
    row = row_of(metrics())
    assert list(row) == list(METRIC_COLUMNS) and row['AQ'] == pytest.approx(0.12) and row['VPQ'] == 0.0


def test_the_summary_holds_every_system(tmp_path):
    for k, name in enumerate(('minvis', 'online', 'oracle')):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'metrics.json').write_text(json.dumps(metrics(0.1 * k)))
    summary = write_summary(tmp_path, ('minvis', 'online', 'oracle'), {'train minvis': 12.5})
    assert list(summary) == ['minvis', 'online', 'oracle', 'seconds']
    assert summary['online']['VPQ'] == pytest.approx(0.1)
    assert summary['oracle']['VPQ'] == pytest.approx(0.2)
    assert json.loads((tmp_path / 'summary.json').read_text()) == summary
    text = summary_table(summary)
    assert '20.0' in text and 'oracle' in text and 'seconds' not in text


def test_the_comparison_shows_every_frame(toy_root, tmp_path):
    dataset = DATASETS.build(
        dict(
            type='VIPSegDataset',
            class_list=None,
            data_root=str(toy_root),
            ann_file='panoptic_gt_VIPSeg_val.json',
            test_mode=True,
            data_prefix=dict(img='images', seg='panomasksRGB'),
        )
    )
    path = compare_video(tiny.model('dvis').eval(), dataset, 1, tmp_path / 'both')
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 7 and (frames[0].height, frames[0].width) == (128, 384)
    assert Image.open(tmp_path / 'both.png').size == (4 * 192, 2 * 128)


def test_tracks_are_numbered_like_the_objects_they_cover():
    gt = np.array([[[4, 4, 4, 9, 9, 0]], [[4, 4, 0, 9, 9, 9]]])
    # track 2 covers both objects in the second frame
    predicted = np.array([[[1, 1, 1, 2, 2, 3]], [[2, 2, 0, 2, 2, 2]]])
    assert match_ids(predicted, gt) == {1: 4, 2: 9, 3: 12}
    assert match_ids(np.zeros((1, 2, 2), int), gt[:1, :, :2]) == {}
