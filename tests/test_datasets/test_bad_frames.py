"""Handling of bad frames in training and inference, and their report."""

import json
import logging
import shutil

import numpy as np
import pytest
import torch
from helpers import tiny_datasets
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader

from mmdvis.cli.exit_on_error import error_message, exit_on_error
from mmdvis.engine.hooks import BadFramesHook
from mmdvis.errors import DataError
from mmdvis.io import FileFrames, PrefetchedFrames, ResizedFrames
from mmdvis.registry import DATASETS

BAD = '00000015'


@pytest.fixture
def root(tmp_path):
    """VIPSeg with a damaged image and a damaged mask in the first training video, and a damaged validation image."""
    tiny_datasets.write('vipseg', tmp_path)
    for path in (f'images/0_train/{BAD}.jpg', 'panomasksRGB/0_train/00000030.png', f'images/0_val/{BAD}.jpg'):
        (tmp_path / path).write_bytes(b'')
    return tmp_path


def build(root, split='train', **options):
    config = dict(tiny_datasets.config('vipseg', root)[f'{split}_dataloader'].dataset)
    if split == 'train':
        config.update(clip=dict(num_frames=7), augment=dict(flip=0.0))
    return DATASETS.build(dict(config, **options))


def test_raise_stops(root):
    with pytest.raises(DataError, match=f'video 0_train, frame {BAD}.png: .*{BAD}.jpg cannot be read'):
        build(root)[0]


def test_skip_takes_another_video(root):
    np.random.seed(0)
    for _ in range(4):
        sample = build(root, on_error='skip')[0]['data_samples']
        assert (
            sample.video_id == '1_train'
            and len(sample.problems) >= 1
            and f'{BAD}.jpg cannot be read' in sample.problems[0]
        )
    assert build(root, on_error='skip')[1]['data_samples'].problems == ()


def test_skip_ends_where_nothing_is_left(root):
    shutil.rmtree(root / 'images')
    with pytest.raises(
        DataError, match='100 consecutive clips cannot be used; the last error: .*there is no such file'
    ):
        build(root, on_error='skip')[0]


def test_repeat_takes_the_nearest_frame_with_its_objects(root):
    whole = build(root)
    sample = build(root, on_error='repeat')[0]
    assert len(sample['data_samples'].problems) == 2
    frames, maps = sample['inputs'], sample['data_samples'].gt_index_maps
    assert torch.equal(frames[1], frames[0]) and torch.equal(maps[:, 1], maps[:, 0])
    assert torch.equal(frames[4], frames[3]) and torch.equal(maps[:, 4], maps[:, 3])
    assert not torch.equal(frames[2], frames[3])
    assert torch.equal(build(root, on_error='repeat')[1]['inputs'], whole[1]['inputs'])


def test_test_videos_are_left_out_or_repaired(root):
    with pytest.raises(DataError, match='0_val/00000015.jpg cannot be read as an image'):
        build(root, 'val')[0]['inputs'].read(0, 7)
    with pytest.raises(DataError, match='no video that can be used; video 0_val was left out: .*00000015.jpg'):
        build(root, 'val', on_error='skip')
    source = build(root, 'val', on_error='repeat')[0]['inputs']
    frames = source.read(0, 4)
    assert torch.equal(frames[1], frames[0]) and list(source.problems) == [1] and 'cannot be read' in source.problems[1]


def test_a_left_out_video_is_named(root):
    dataset = build(root, on_error='skip', test_mode=True, test=dict(), clip=None, augment=None)
    assert len(dataset) == 1 and list(dataset.left_out) == ['0_train']
    assert 'video 0_train was left out' in dataset.left_out['0_train']


def test_the_first_frame_may_be_the_bad_one(tmp_path):
    from PIL import Image

    for k in range(4):
        Image.fromarray(np.full((6, 8, 3), 50 * k, np.uint8)).save(tmp_path / f'{k}.png')
    (tmp_path / '0.png').write_bytes(b'')
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / '2.png')
    source = PrefetchedFrames(
        ResizedFrames(FileFrames([tmp_path / f'{k}.png' for k in range(4)], on_error='repeat'), 6)
    )
    assert source.size == (6, 8)
    assert [int(frame.float().mean()) for frame in source.read(0, 4)] == [50, 50, 50, 150]
    assert set(source.problems) == {0, 2} and 'all frames of a video must have the same size' in source.problems[2]
    assert int(source.read(2, 3).float().mean()) == 50  # a later read repeats the previous frame
    with pytest.raises(DataError, match='none of the 1 frames of the video can be used'):
        FileFrames([tmp_path / '0.png'], on_error='repeat')


def test_the_policy_is_named(root):
    with pytest.raises(ValueError, match="on_error must be 'raise' or 'skip' or 'repeat', got 'ignore'"):
        build(root, on_error='ignore')


class Runner:
    """Minimal runner with the attributes that the hook needs."""

    logger = logging.getLogger('runner of a test')

    class test_dataloader:
        class dataset:
            left_out = dict(v='video v was left out: it is empty')


def test_the_report_counts_all(root, caplog):
    hook, loader = BadFramesHook(shown=2), DataLoader(build(root, on_error='repeat'), 2, collate_fn=pseudo_collate)
    for _ in range(3):
        for batch in loader:
            hook.after_train_iter(Runner, 0, batch)
    source = build(root, 'val', on_error='repeat')[0]['inputs']
    source.read(0, 7)
    hook.after_test_iter(Runner, 0, dict(inputs=[source]))
    hook.after_test_epoch(Runner)
    with caplog.at_level(logging.WARNING):
        hook.after_run(Runner)
    text = caplog.text
    assert (
        'bad frames or videos: 8 occurrences of 4 different problems' in text
        and '3 x video 0_train, frame 00000015.png' in text
    )
    assert 'and 2 more' in text
    caplog.clear()
    BadFramesHook().after_run(Runner)
    assert not caplog.text


@pytest.mark.parametrize('workers', (0, 2))
def test_one_sentence_even_from_a_worker(root, workers):
    loader = DataLoader(build(root), 1, num_workers=workers, collate_fn=pseudo_collate)
    with pytest.raises(SystemExit) as caught:
        with exit_on_error():
            list(loader)
    assert str(caught.value).startswith('error: video 0_train, frame 00000015.png: ') and 'Traceback' not in str(
        caught.value
    )
    assert error_message(DataError('plain')) == 'plain'


def test_training_says_it_at_the_end(root, tmp_path, capsys):
    """End to end: training on damaged videos succeeds, and the log counts the bad frames."""
    from helpers.tiny_datasets import settings_of

    from mmdvis.engine.launch import load_config, train

    settings = settings_of('vipseg', root)
    for name in ('val_dataloader', 'val_evaluator', 'val_cfg', 'test_dataloader', 'test_evaluator', 'test_cfg'):
        settings.pop(name)
    settings.train_cfg = dict(type='IterBasedTrainLoop', max_iters=4)
    settings.train_dataloader.dataset.update(on_error='repeat', clip=dict(num_frames=7))
    settings.experiment_name, settings.log_level = tmp_path.name, 'WARNING'
    (tmp_path / 'config.py').write_text(settings.pretty_text)
    train(load_config(str(tmp_path / 'config.py'), str(tmp_path / 'run')))
    log = ''.join(path.read_text() for path in (tmp_path / 'run').rglob('*.log'))
    assert 'bad frames or videos: ' in log + capsys.readouterr().err, json.dumps(log[-300:])
