"""The loop of segmenting, correcting and training on synthetic videos."""

import json

import numpy as np
import pytest
from helpers.commands import call, load
from helpers.results import mask_object

from mmdvis.result_files.label_export import uncompressed


def segment(number, mask):
    return mask_object(mask, lambda: mask, id=number, label=0, name='car', score=None, is_thing=True)


class Truth:
    """Two cars that stand still."""

    def __init__(self, masks, frames):
        from mmdvis.results import ClassInfo

        self.classes = ClassInfo(('car', 'sky'), (True, False), (0, 1), ((0, 0, 0), (1, 1, 1)))
        objects = tuple(segment(number, mask) for number, mask in masks.items())
        self.frames = [type('Frame', (), dict(objects=objects))() for _ in range(frames)]

    def __len__(self):
        return len(self.frames)

    def __getitem__(self, t):
        return self.frames[t]


def test_exchanged_numbers_are_told_apart(tmp_path):
    """Track 5 is first one car and then the other: both get a number of their own, and no number is lost or shared."""
    tool = load('demo/data_engine.py')
    first, second, false = (np.zeros((20, 30), bool) for _ in range(3))
    first[2:8, 2:8], second[10:18, 12:22], false[0:3, 24:29] = True, True, True

    def entry(image, mask, number):
        return dict(image_id=image, category_id=1, segmentation=uncompressed(mask), attributes=dict(track_id=number))

    entries = [entry(1, first, 5), entry(2, first, 7), entry(2, second, 5), entry(3, first, 7), entry(3, false, 9)]
    path = tmp_path / 'instances.json'
    path.write_text(json.dumps(dict(annotations=entries, categories=[dict(id=1, name='car'), dict(id=2, name='sky')])))
    counts = tool.correct(path, Truth({1: first, 2: second}, 3))
    found = json.loads(path.read_text())['annotations']
    numbers = [
        {a['attributes']['track_id'] for a in found if a['segmentation'] == uncompressed(m)} for m in (first, second)
    ]
    assert [len(part) for part in numbers] == [1, 1] and numbers[0] != numbers[1]
    assert len(found) == 6 and counts == dict(identities=counts['identities'], masks=2, removed=1)


@pytest.mark.slow
def test_the_loop_runs_from_end_to_end(tmp_path):
    text = call('demo/data_engine.py', '--work-dir', tmp_path / 'out', '--videos', 3, '--iters', 2)
    summary = json.loads((tmp_path / 'out' / 'summary.json').read_text())
    assert summary['video'].startswith('val_') and len(summary['rows']) == 5 and 'identity switches' in text
    assert 'is not empty' in call('demo/data_engine.py', '--work-dir', tmp_path / 'out', fails=True)
