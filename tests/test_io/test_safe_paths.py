"""Names that come from files never lead outside the folder that was named."""

import ast
from pathlib import Path

import pytest
import torch
from helpers.commands import ROOT

from mmdvis.checks import path_inside
from mmdvis.datasets.converters.vipseg import prepare_vipseg
from mmdvis.errors import DataError
from mmdvis.evaluation.metrics.submission import SubmissionWriter
from mmdvis.io import ArrayFrames
from mmdvis.results import ClassInfo, VideoDataSample, VideoPanoptic
from mmdvis.structures import Segment
from mmdvis.visualization.visualization_hook import VideoVisualizationHook

UNSAFE = [
    '',
    '.',
    '..',
    '../../esc',
    'a/../../b',
    '/abs/dir',
    'C:\\temp',
    'a\\..\\b',
    'a\0b',
    'line\nbreak',
    'con',
    'NUL.png',
    'a//b',
    'x' * 300,
    'é' * 140,
]
WRITERS = [  # modules that build paths of names from datasets and results
    'mmdvis/evaluation/metrics/submission.py',
    'mmdvis/evaluation/files/panoptic_files.py',
    'mmdvis/visualization/visualization_hook.py',
    'mmdvis/datasets/converters/vipseg.py',
    'mmdvis/datasets/converters/vspw.py',
    'mmdvis/datasets/converters/viper.py',
]
UNTRUSTED = {'name', 'video', 'video_id', 'file_name', 'frame'}


@pytest.mark.parametrize('name', UNSAFE)
def test_unsafe_names_are_refused(tmp_path, name):
    with pytest.raises(DataError, match=r'cannot be used as a file name in .*: .*; only relative names'):
        path_inside(tmp_path, name, '' if name in ('', '.', '..') else '.png')


@pytest.mark.parametrize('name', ['0001', 'a/b/c', 'video.with.dots', '..name', 'name..', 'コ', 'console', 'a b-c_d'])
def test_names_of_datasets_are_kept(tmp_path, name):
    assert path_inside(tmp_path, name, '.png') == tmp_path / f'{name}.png'


def test_a_link_outside_is_refused_for_writing(tmp_path):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'video').symlink_to(tmp_path)
    with pytest.raises(DataError, match='a link leads outside the folder'):
        path_inside(tmp_path / 'out', 'video/0001', '.png')
    assert path_inside(tmp_path / 'out', 'video/0001', '.png', links=True).parent.name == 'video'
    (tmp_path / 'out' / 'inside').mkdir()
    (tmp_path / 'out' / 'again').symlink_to(tmp_path / 'out' / 'inside')
    path_inside(tmp_path / 'out', 'again/0001')


def prediction(name, classes):
    sample = VideoDataSample(metainfo=dict(video_id=name, frame_names=('0.jpg',)))
    result = VideoPanoptic(torch.ones(1, 4, 4, dtype=torch.int32), (Segment(1, 0, 0, True, 1.0),), classes)
    sample.set_data(dict(pred_panoptic=result))
    return sample


@pytest.mark.parametrize('name', ['../../esc', '/tmp/mmdvis-escape', 'a/../../b'])
def test_a_submission_stays_in_its_folder(tmp_path, name):
    """The case of the audit: such an id wrote PNGs elsewhere and the run ended well."""
    classes = ClassInfo.from_meta(dict(classes=('cup',), palette=[(1, 2, 3)], is_thing=[True], category_ids=[1]))
    writer = SubmissionWriter(str(tmp_path / 'deep' / 'er' / 'out'))
    writer.dataset_meta = dict(category_ids=[1])
    before = sorted(tmp_path.rglob('*'))
    with pytest.raises(DataError, match='cannot be used as a file name'):
        writer.process(None, [{**prediction(name, classes).metainfo, **prediction(name, classes).to_dict()}])
    assert [path for path in sorted(tmp_path.rglob('*')) if path.is_file()] == [p for p in before if p.is_file()]
    assert not Path('/tmp/mmdvis-escape').exists()


def test_drawn_videos_stay_in_their_folder(tmp_path):
    classes = ClassInfo.from_meta(dict(classes=('cup',), palette=[(1, 2, 3)], is_thing=[True], category_ids=[1]))
    hook = VideoVisualizationHook(str(tmp_path / 'out'))
    frames = ArrayFrames(torch.zeros((1, 3, 4, 4), dtype=torch.uint8))
    with pytest.raises(DataError, match='cannot be used as a file name'):
        hook.after_test_iter(None, 0, dict(inputs=[frames]), [prediction('../escaped', classes)])
    assert not (tmp_path / 'escaped.mp4').exists()


def test_a_converter_refuses_a_list_that_leads_outside(tmp_path):
    raw = tmp_path / 'raw'
    (raw / 'imgs').mkdir(parents=True)
    (raw / 'val.txt').write_text('../../esc\n')
    with pytest.raises(DataError, match="'../../esc' cannot be used as a file name"):
        prepare_vipseg(raw, tmp_path / 'out', workers=1)


def untrusted_joins(source):
    """Lines that join a folder and an untrusted name with ``/``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            for part in ast.walk(node.right):
                if (isinstance(part, ast.Name) and part.id in UNTRUSTED) or (
                    isinstance(part, ast.Attribute) and part.attr == 'video_id'
                ):
                    yield node.lineno


@pytest.mark.parametrize('path', WRITERS)
def test_writers_build_such_paths_with_one_function(path):
    assert list(untrusted_joins((ROOT / path).read_text())) == []


def test_the_rule_finds_a_join():
    assert list(untrusted_joins("a = folder / name\nb = folder / f'{sample.video_id}.mp4'\nc = width / 2")) == [1, 2]
