"""Damaged files: every tool ends in time, with a result or with one sentence, never with a traceback.

``make fuzz N=5000`` runs more cases than ``make test-all``.
"""

import contextlib
import io
import json
import multiprocessing
import os
import random
import shutil
import traceback
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import tiny_datasets
from helpers.commands import load
from helpers.metric_fixtures import SET, VIPSEG
from PIL import Image

from mmdvis.checkpoints import read_checkpoint
from mmdvis.datasets import VIPSegDataset
from mmdvis.errors import MMDVISError
from mmdvis.io import VideoWriter, open_frames, read_image
from mmdvis.registry import DATASETS

from .mutations import damaged_bytes, damaged_json

CASES = int(os.environ.get('FUZZ_CASES', '60'))
SECONDS = 60  # limit of one case


def outcome_of(case, seed, folder, pipe):
    """Runs a case in this process and sends its outcome."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            case(None if seed is None else random.Random(seed), folder)
            outcome = 'result'
        except MMDVISError as error:
            outcome = 'sentence' if str(error).strip() else 'an error without a message'
        except SystemExit as error:
            outcome = 'sentence' if error.code in (1, 2) or isinstance(error.code, str) else f'exit code {error.code}'
        except BaseException:
            outcome = traceback.format_exc()
    pipe.send(outcome)


def run_case(case, seed, folder):
    """Runs a case in a process with a time limit; without a seed, nothing is damaged. Returns its outcome."""
    context = multiprocessing.get_context('fork')
    folder.mkdir()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=outcome_of, args=(case, seed, folder, sender))
    process.start()
    outcome = receiver.recv() if receiver.poll(SECONDS) else f'no end after {SECONDS} seconds'
    process.kill()
    process.join()
    shutil.rmtree(folder)
    return outcome


def run_cases(case, name, tmp_path):
    """Runs the cases of a target."""
    counts, faults = dict(result=0, sentence=0), []
    assert run_case(case, None, tmp_path / 'case') == 'result'  # undamaged
    for number in range(CASES):
        seed = zlib.crc32(f'{name}{number}'.encode())
        outcome = run_case(case, seed, tmp_path / 'case')
        if outcome in counts:
            counts[outcome] += 1
        else:
            faults.append(f'seed {seed}: {outcome}')
    assert not list(tmp_path.iterdir()), 'something was written outside the folder of the case'
    assert not faults, f'{len(faults)} of {CASES}:\n' + '\n'.join(faults[:3])
    assert counts['sentence'], 'no damage was noticed'
    print(f'{name}: {CASES} cases, {counts["result"]} results, {counts["sentence"]} sentences')


@pytest.fixture(scope='module')
def score_tool():
    return load('tools/score.py')


def score(tool, *words):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('sys.argv', ['score.py', *map(str, words), '--workers', '1'])
        try:
            code = tool.main()
        except MMDVISError as error:
            raise AssertionError('the tool ends with a traceback') from error
    if code:
        raise SystemExit(code)


@pytest.mark.slow
@pytest.mark.parametrize('side', ['gt', 'results'])
def test_scores_of_tracks(tmp_path, score_tool, side):
    content = json.loads((SET / 'ytvis' / f'{side}.json').read_text())

    def case(rng, folder):
        paths = {name: SET / 'ytvis' / f'{name}.json' for name in ('gt', 'results')}
        paths[side] = folder / f'{side}.json'
        paths[side].write_text(damaged_json(content, rng))
        score(score_tool, 'vis', '--gt', paths['gt'], '--pred', paths['results'])

    run_cases(case, f'tracks, {side}', tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize('side', ['truth', 'prediction'])
@pytest.mark.parametrize('task', ['vpq', 'stq'])
def test_scores_of_panoptic_videos(tmp_path, score_tool, side, task):
    names = dict(truth='panoptic_gt_VIPSeg_val.json', prediction='submission/pred.json')
    content = json.loads((SET / 'vipseg' / names[side]).read_text())

    def case(rng, folder):
        words = list(VIPSEG)
        if side == 'truth':
            words[1] = folder / 'truth.json'
            words[1].write_text(damaged_json(content, rng))
        else:
            words[5] = folder / 'submission'
            words[5].mkdir()
            (words[5] / 'pan_pred').symlink_to(SET / 'vipseg' / 'submission' / 'pan_pred')
            (words[5] / 'pred.json').write_text(damaged_json(content, rng))
        score(score_tool, task, *words)

    run_cases(case, f'{task}, {side}', tmp_path)


@pytest.mark.slow
def test_a_dataset_of_vipseg(tmp_path, toy_root):
    content = json.loads((Path(toy_root) / 'panoptic_gt_VIPSeg_train.json').read_text())

    def case(rng, folder):
        (folder / 'train.json').write_text(damaged_json(content, rng))
        for name in ('images', 'panomasksRGB'):
            (folder / name).symlink_to(Path(toy_root) / name)
        dataset = VIPSegDataset(
            class_list=None,
            data_root=str(folder),
            ann_file='train.json',
            data_prefix=dict(img='images', seg='panomasksRGB'),
            clip=dict(num_frames=2, frame_range=2),
        )
        for index in range(min(len(dataset), 2)):
            dataset[index]

    run_cases(case, 'VIPSeg', tmp_path)


ANNOTATIONS = dict(
    youtube_vis_2021_360p='train.json',
    coco_panoptic='annotations/panoptic_train2017.json',
    coco_instance='annotations/instances_train2017.json',
    cityscapes_vps='panoptic_gt_val_city_vps.json',
)


@pytest.mark.slow
@pytest.mark.parametrize('kind', ANNOTATIONS)
def test_a_dataset_in_its_official_layout(tmp_path_factory, tmp_path, kind):
    root = tmp_path_factory.mktemp(kind)
    tiny_datasets.write(kind, root)
    settings = dict(tiny_datasets.config(kind, root).train_dataloader.dataset)
    if kind == 'cityscapes_vps':
        settings.update(ann_file=ANNOTATIONS[kind], data_prefix=dict(img='val/img', seg='val/panoptic_video'))
    (path,) = root.rglob(Path(settings['ann_file']).name)
    content = json.loads(path.read_text())

    def case(rng, folder):
        (folder / 'damaged.json').write_text(damaged_json(content, rng))
        prefixes = {key: str(root / value) for key, value in settings['data_prefix'].items()}
        dataset = DATASETS.build(
            dict(settings, data_root=None, ann_file=str(folder / 'damaged.json'), data_prefix=prefixes)
        )
        for index in range(min(len(dataset), 2)):
            dataset[index]

    run_cases(case, kind, tmp_path)


@pytest.mark.slow
def test_a_checkpoint(tmp_path):
    """A damaged checkpoint is refused, or holds exactly what was saved."""
    state = {f'layer.{k}.weight': torch.randn(7, 5, generator=torch.Generator().manual_seed(k)) for k in range(9)}
    buffer = io.BytesIO()
    torch.save(
        dict(state_dict=state, meta=dict(iter=3, switches={}), optimizer=dict(state={}, param_groups=[])), buffer
    )

    def case(rng, folder):
        path = folder / 'checkpoint.pth'
        path.write_bytes(damaged_bytes(buffer.getvalue(), rng))
        found = read_checkpoint(path).get('state_dict')
        assert found is not None and found.keys() == state.keys()
        assert all(torch.equal(value, found[name]) for name, value in state.items()), 'other weights were loaded'

    run_cases(case, 'checkpoints', tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize('suffix', ['png', 'jpg', 'tif', 'webp'])
def test_an_image(tmp_path, suffix):
    pixels = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, dict(jpg='JPEG', tif='TIFF').get(suffix, suffix.upper()))

    def case(rng, folder):
        path = folder / f'image.{suffix}'
        path.write_bytes(damaged_bytes(buffer.getvalue(), rng))
        found = read_image(path)
        assert found.dtype == np.uint8
        if rng is None and suffix in ('png', 'tif'):
            assert np.array_equal(found, pixels)

    run_cases(case, f'{suffix} images', tmp_path)


@pytest.mark.slow
def test_a_video(tmp_path):
    folder = tmp_path.parent / f'{tmp_path.name}_source'
    folder.mkdir()
    with VideoWriter(folder / 'source.mp4', 6) as writer:
        for frame in np.random.default_rng(0).integers(0, 255, (8, 48, 64, 3), np.uint8):
            writer.write(frame)
    content = (folder / 'source.mp4').read_bytes()

    def case(rng, work):
        (work / 'video.mp4').write_bytes(damaged_bytes(content, rng))
        source = open_frames(work / 'video.mp4')
        for t in range(len(source)):
            source.read(t, t + 1)
        assert rng is not None or len(source) == 8

    run_cases(case, 'videos', tmp_path)
