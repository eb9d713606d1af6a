"""Error breakdown of panoptic predictions, checked by manual counts."""

import json

import numpy as np
import pytest
from helpers.commands import load
from helpers.metric_fixtures import SET, VIPSEG
from PIL import Image

from mmdvis.evaluation.functional.error_breakdown import find_errors, matched_segments
from mmdvis.evaluation.functional.frame_table import frame_table

CLASSES = {1: 7, 2: 7, 3: 8}


def tables(truth, predicted, classes, crowd=()):
    frame_tables = []
    for t, p in zip(np.array(truth), np.array(predicted)):
        sides = [
            [dict(id=int(i), category_id=names[int(i)], area=1, iscrowd=int(i in crowd)) for i in np.unique(ids) if i]
            for ids, names in ((t, CLASSES), (p, classes))
        ]
        frame_tables.append(frame_table(t[None], sides[0], p[None], sides[1]))
    return frame_tables


def test_every_kind_of_error():
    gt = [[1, 1, 1, 2, 2, 3, 3, 0]] * 4
    predicted = [[5, 5, 5, 6, 6, 9, 9, 0], [5, 5, 5, 6, 6, 9, 9, 0], [6, 6, 6, 5, 5, 8, 8, 8], [5, 5, 5, 0, 0, 7, 7, 0]]
    breakdown = find_errors(tables(gt, predicted, {5: 7, 6: 7, 7: 8, 8: 7, 9: 8}))
    assert breakdown.frames[0].truth == {1: 'right', 2: 'right', 3: 'right'} and breakdown.frames[0].false == ()
    assert breakdown.frames[2].truth == {1: 'switched', 2: 'switched', 3: 'class'}
    assert breakdown.frames[3].truth == {1: 'right', 2: 'missed', 3: 'switched'}
    assert breakdown.switches == 2 + 2 + 1  # to 6, 5 and 8; back to 5, and on to 7
    assert breakdown.pixels == dict(right=7 + 7 + 3, switched=5 + 2, missed=2, false=0, **{'class': 2})


def test_a_false_segment_is_forgiven_on_void():
    breakdown = find_errors(tables([[1, 1, 0, 0, 0, 2, 2, 2]], [[5, 5, 6, 6, 6, 7, 8, 8]], {5: 7, 6: 7, 7: 7, 8: 7}))
    assert breakdown.frames[0].false == (7,) and breakdown.pixels['false'] == 1


def test_crowds_take_no_part():
    breakdown = find_errors(tables([[1, 1, 2, 2]], [[5, 5, 6, 6]], {5: 7, 6: 7}, crowd=(2,)))
    # it has the class of the crowd
    assert breakdown.frames[0].truth == {1: 'right'} and breakdown.frames[0].false == ()
    assert find_errors(tables([[1, 1, 2, 2]], [[5, 5, 6, 6]], {5: 7, 6: 8}, crowd=(2,))).frames[0].false == (6,)


def test_a_partner_needs_more_than_half():
    (table,) = tables([[1, 1, 1, 1]], [[5, 5, 6, 6]], {5: 7, 6: 7})
    assert matched_segments(table) == {}


def analyse(monkeypatch, out, *words):
    tool = load('tools/analysis_tools/analyze_results.py')
    monkeypatch.setattr('sys.argv', ['x', *map(str, words), '--out', str(out)])
    return tool.main()


def test_tables_and_pictures(tmp_path, monkeypatch, capsys):
    assert analyse(monkeypatch, tmp_path, *VIPSEG, '--worst', 3) == 0
    text, content = capsys.readouterr().out, json.loads((tmp_path / 'analysis.json').read_text())
    assert len(content['videos']) == 11 and content['videos']['330_id_switch']['switches'] > 0
    scores = [row['VPQ'] for row in content['videos'].values() if row['VPQ'] == row['VPQ']]
    assert scores == sorted(scores) and '| 330_id_switch ' in text
    for row in content['videos'].values():
        assert sum(row[kind] for kind in ('right', 'switched', 'class', 'missed')) == pytest.approx(1.0)
    pictures = sorted((tmp_path / 'worst').iterdir())
    assert len(pictures) == 3 and pictures[0].name.startswith('00_')
    with Image.open(pictures[0]) as image:
        colours = {tuple(c) for c in np.asarray(image).reshape(-1, 3).tolist()}
    assert (200, 30, 30) in colours or (230, 160, 0) in colours or (30, 110, 220) in colours


def test_bad_files(tmp_path, monkeypatch, capsys):
    words = [SET / 'vipseg' if str(w).endswith('submission') else w for w in VIPSEG]
    assert analyse(monkeypatch, tmp_path, *words) == 2
    assert 'there is no file' in capsys.readouterr().err
