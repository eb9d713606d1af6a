"""Rejected options of ``mmdvis run``, and protection of the source video when results are written."""

import io
import sys

import numpy as np
import pytest
import torch
from helpers import tiny
from helpers.commands import ROOT
from helpers.results import CLASSES, MAKERS, SIZE, pictures
from helpers.videos import write_video
from mmengine.config import Config

from mmdvis.apis import VideoSegInferencer, load
from mmdvis.apis.segment_video import MEDIA
from mmdvis.cli import run as command
from mmdvis.cli.exit_on_error import TerminatedError
from mmdvis.errors import BadInputError, OptionError
from mmdvis.io import IMAGE_SUFFIXES, FileFrames, LiveFrames
from mmdvis.registry import MODELS
from mmdvis.result_files import KINDS, VideoInfo, write_results

META = dict(classes=tuple('abcde'), num_things=3)
SEGFORMER = ROOT / 'configs' / 'per_frame' / 'per-frame_segformer-b0_ade20k.py'


def grey_video(path, number=4):
    """Write a video whose frames have one grey level each; return its path."""
    return write_video(path, [np.full((48, 64, 3), 40 * t % 256, np.uint8) for t in range(number)], 10)


def inferencer(**options):
    config = tiny.model('cosine', False, tiny.PANOPTIC, dataset_meta=META)
    return VideoSegInferencer(config.eval(), short_edge=64, **options)


@pytest.mark.parametrize(
    'words, message',
    [
        (['--score-thr', '5'], '--score-thr must be from 0 to 1, got 5.0'),
        (['--score-thr', 'nan'], '--score-thr must be from 0 to 1, got nan'),
        (
            ['--compare', 'a', '--truth', 'b', '--save', 'html'],
            '--compare and --truth cannot be used together; choose one',
        ),
        (['--compare', 'a', '--save', 'csv'], '--compare and --truth require html in --save, got --save csv'),
        (['--device', 'gpu'], "device must be 'auto', 'cpu', 'cuda' or 'cuda:N', got 'gpu'"),
    ],
)
def test_options_without_effect_are_refused(tmp_path, words, message):
    grey_video(tmp_path / 'a.mp4')
    words = [str(tmp_path / 'a.mp4'), '--out', str(tmp_path / 'out'), '--model', 'dvis-offline_toy', *words]
    with pytest.raises(SystemExit, match=message):
        command.main(words)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('save, name', [('video', 'video.mp4'), ('masks', 'panoptic')])
def test_the_source_is_never_replaced_by_its_results(tmp_path, save, name):
    folder = tmp_path / 'project'
    if save == 'video':
        files = [grey_video(folder / name)]
    else:
        (folder / name).mkdir(parents=True)
        files = [folder / name / f'{t}.ppm' for t in range(2)]
        for path in files:
            path.write_bytes(b'P6 64 48 255\n' + bytes(3 * 64 * 48))
    before = [path.read_bytes() for path in files]
    source = folder / name
    with pytest.raises(BadInputError, match='is part of the source and would be replaced by the results'):
        inferencer()(str(source)).save(folder, [save], progress=False)
    assert [path.read_bytes() for path in files] == before
    inferencer()(str(source)).save(folder, ['csv'], progress=False)  # tables cannot replace a video
    assert (folder / 'tracks.csv').exists() and [path.read_bytes() for path in files] == before


def test_all_outputs_that_could_be_a_source_are_known(tmp_path):
    """The names that ``save_frames`` protects are those of the written videos and folders of images."""
    found = set()
    for task, make in MAKERS.items():
        info = VideoInfo(name='v', classes=CLASSES, size=SIZE, fps=10.0)
        frames = [(picture, make(t)) for t, picture in enumerate(pictures(2))]
        for kind in KINDS:
            written = write_results(frames, tmp_path / task / kind, info, [kind])
            for name, path in written.items():
                files = path.rglob('*') if path.is_dir() else [path]
                if any(file.suffix in (*IMAGE_SUFFIXES, '.mp4') for file in files):
                    assert name in MEDIA[kind]
                    found.add((kind, name))
    assert found == {(kind, name) for kind, names in MEDIA.items() for name in names}


@pytest.mark.parametrize('call, written', [(3, ['stdin']), (1, [])])
def test_a_signal_ends_a_live_source_and_the_program(tmp_path, monkeypatch, call, written):
    """The results so far are written and the next source is not opened, even if no frame has arrived yet."""
    path, second = grey_video(tmp_path / 'clip.mp4', 30), grey_video(tmp_path / 'second.mp4')
    monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    monkeypatch.setattr(command, 'load', lambda *args, **options: inferencer())
    read, calls = LiveFrames.read, []

    def ended(self, number):
        calls.append(number)
        if len(calls) == call:
            raise TerminatedError(15)
        return read(self, number)

    monkeypatch.setattr(LiveFrames, 'read', ended)
    words = ['-', str(second), '--out', str(tmp_path / 'out'), '--save', 'csv', '--model', 'vps']
    assert command.main(words) == 143
    assert [path.parent.name for path in (tmp_path / 'out').rglob('tracks.csv')] == written
    assert not (tmp_path / 'out' / 'second').exists()


def test_hidden_files_are_no_videos_and_links_keep_their_name(tmp_path):
    video = grey_video(tmp_path / 'store' / '9f2c.mp4')
    (tmp_path / 'videos').mkdir()
    (tmp_path / 'videos' / 'cat.mp4').symlink_to(video)
    for name in ('._cat.mp4', '._cover.jpg'):
        (tmp_path / 'videos' / name).write_bytes(b'of a file manager')
    assert command.expand([str(tmp_path / 'videos')]) == [str(tmp_path / 'videos' / 'cat.mp4')]
    assert command.source_name(tmp_path / 'videos' / 'cat.mp4') == 'cat'


def test_options_of_panoptic_models_for_a_model_of_mmseg(tmp_path):
    video, weights = grey_video(tmp_path / 'a.mp4', 2), tmp_path / 'weights.pth'
    torch.save(dict(meta={}, state_dict=MODELS.build(Config.fromfile(SEGFORMER).model).state_dict()), weights)
    words = [str(video), '--model', str(SEGFORMER), '--weights', str(weights), '--save', 'csv', '--short-edge', '48']
    assert command.main([*words, '--out', str(tmp_path / 'a'), '--score-thr', '0.5']) == 0
    with pytest.raises(OptionError, match='leave out max_memory'):
        video = load(str(SEGFORMER), weights)(str(video), offline=True, max_memory=10**9)
        video.save(tmp_path / 'b', ['csv'], progress=False)


def test_a_list_of_files_is_a_source_too(tmp_path):
    for t in range(2):
        (tmp_path / 'crops').mkdir(exist_ok=True)
        (tmp_path / 'crops' / f'{t}.ppm').write_bytes(b'P6 64 48 255\n' + bytes(3 * 64 * 48))
    frames = FileFrames(sorted((tmp_path / 'crops').iterdir()))
    with pytest.raises(BadInputError, match='would be replaced'):
        inferencer()(frames).save(tmp_path, ['crops'], progress=False)
