"""A resumed run is the same run: the same clips with the same draws, and the same weights bit for bit."""

import hashlib
import pickle
import shutil
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import tiny_config
from torch.utils.data import BatchSampler, DataLoader

from mmdvis.checkpoints import read_checkpoint
from mmdvis.datasets import VIPSegDataset
from mmdvis.datasets.drawn_index import DrawnIndex, seeded_draws
from mmdvis.datasets.samplers import ClipSampler
from mmdvis.engine import VideoTrainLoop
from mmdvis.engine.launch import load_config, set_resume, train


def dataset(root, **options):
    return VIPSegDataset(
        class_list=None,
        data_root=str(root),
        ann_file='panoptic_gt_VIPSeg_train.json',
        data_prefix=dict(img='images', seg='panomasksRGB'),
        clip=dict(num_frames=2, frame_range=2),
        augment=dict(flip=0.5, short_edges=[48, 56, 64], crop=dict(size=(40, 40))),
        **options,
    )


def marks(root, number=12, workers=0, rank=0, world_size=1, skip=0, seed=5):
    """Hashes of the first clips of a loader."""
    data = dataset(root)
    sampler = ClipSampler(data, seed=seed)
    sampler.rank, sampler.world_size = rank, world_size
    sampler.skip(skip)
    loader = DataLoader(
        data, batch_size=None, sampler=sampler, num_workers=workers, multiprocessing_context='fork' if workers else None
    )
    clips = islice(iter(loader), number)
    return [hashlib.sha256(clip['inputs'].contiguous().numpy().tobytes()).hexdigest() for clip in clips]


def test_an_index_carries_its_seed_to_other_processes():
    index = pickle.loads(pickle.dumps(DrawnIndex(7, (3, 1, 4))))
    assert index == 7 and index.seed == (3, 1, 4) and list(range(9))[index] == 7


def test_draws_depend_on_the_seed_alone_and_leave_the_generator_as_it_was():
    np.random.seed(1)
    expected = np.random.rand(3)
    np.random.seed(1)
    drawn = []
    for seed in ((0, 1, 5), (0, 1, 6), (0, 1, 5)):
        with seeded_draws(DrawnIndex(2, seed)):
            drawn.append(np.random.rand())
    assert drawn[0] == drawn[2] != drawn[1]
    assert np.array_equal(np.random.rand(3), expected)
    with seeded_draws(2):  # without a seed, the generator goes on
        first = np.random.rand()
    assert first != np.random.rand()


def test_clips_do_not_depend_on_the_workers(toy_root):
    expected = marks(toy_root)
    assert len(set(expected)) == 12  # frames, sizes, windows and flips differ
    for workers in (1, 2):
        assert marks(toy_root, workers=workers) == expected
    assert marks(toy_root, seed=6) != expected


def test_clips_do_not_depend_on_the_processes(toy_root):
    expected = marks(toy_root)
    for processes in (2, 3):
        parts = [marks(toy_root, 12 // processes, rank=rank, world_size=processes) for rank in range(processes)]
        assert [mark for group in zip(*parts) for mark in group] == expected


@pytest.mark.parametrize('skip', [1, 5])
def test_a_resumed_stream_goes_on_with_its_draws(toy_root, skip):
    assert marks(toy_root, 12 - skip, skip=skip) == marks(toy_root)[skip:]


def test_batches_of_one_shape_carry_seeds(toy_root):
    sampler = ClipSampler(dataset(toy_root), batch_size=2, by_shape=True, seed=0)
    batches = islice(iter(BatchSampler(sampler, 2, drop_last=True)), 5)
    seeds = [index.seed for batch in batches for index in batch]
    assert len(set(seeds)) == 10


def test_a_mixture_keeps_the_seeds(toy_root):
    from mmdvis.datasets import ConcatClipDataset

    part = dict(
        type='VIPSegDataset',
        class_list=None,
        data_root=str(toy_root),
        ann_file='panoptic_gt_VIPSeg_train.json',
        data_prefix=dict(img='images', seg='panomasksRGB'),
        augment=dict(flip=0.5),
    )
    mixture = ConcatClipDataset(dict(a=part, b=part), clip=dict(num_frames=2, frame_range=2))
    for index in (1, 8):
        clips = [mixture[DrawnIndex(index, (0, 1, 9))]['inputs'] for _ in range(2)]
        assert torch.equal(*clips)
    different = [mixture[DrawnIndex(8, (0, 1, k))]['inputs'] for k in range(6)]
    assert any(not torch.equal(different[0], other) for other in different[1:])


def run(folder, stage, toy_root, iters, resume=False, load_from=None, workers=0, options=None):
    """Trains up to an iteration; returns the checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    path = tiny_config.write(folder, stage, toy_root, iters=iters, load_from=load_from)
    settings = {
        'default_hooks.checkpoint.interval': 1,
        'default_hooks.checkpoint.max_keep_ckpts': 9,
        'train_dataloader.dataset.augment.flip': 0.5,
        'experiment_name': f'{folder.name}_{iters}_{resume}',
        **(options or {}),
    }
    if workers:
        settings.update({'train_dataloader.num_workers': workers})
    config = load_config(str(path), str(folder), settings)
    if resume:
        set_resume(config, 'auto')
    return train(config)


def resumed(whole, folder, stage, toy_root, stop, load_from=None):
    """Goes on from an earlier checkpoint of a finished run, in another folder, to its end."""
    folder.mkdir()
    shutil.copy(whole.parent / f'iter_{stop}.pth', folder)
    (folder / 'last_checkpoint').write_text(str(folder / f'iter_{stop}.pth'))
    return run(folder, stage, toy_root, 4, resume=True, load_from=load_from)


def different(one, other):
    """Names of the tensors of two checkpoints that differ, of weights and optimizer."""
    first, second = (read_checkpoint(path) for path in (one, other))
    names = [name for name, value in first['state_dict'].items() if not torch.equal(value, second['state_dict'][name])]
    for key, state in first['optimizer']['state'].items():
        for name, value in state.items():
            if torch.is_tensor(value) and not torch.equal(value, second['optimizer']['state'][key][name]):
                names.append(f'{key}.{name}')
    assert first['meta']['iter'] == second['meta']['iter']
    return names


@pytest.mark.parametrize('stop', [1, 3])
def test_a_resumed_segmenter_is_the_unbroken_one(toy_root, tmp_path, monkeypatch, stop):
    whole = Path(run(tmp_path / 'whole', 'minvis', toy_root, 4))
    iterations, run_iter = [], VideoTrainLoop.run_iter
    monkeypatch.setattr(VideoTrainLoop, 'run_iter', lambda loop, batch: iterations.append(1) or run_iter(loop, batch))
    assert different(whole, resumed(whole, tmp_path / 'part', 'minvis', toy_root, stop)) == []
    assert len(iterations) == 4 - stop


@pytest.mark.slow
@pytest.mark.parametrize('stage, before', [('online', 'minvis'), ('offline', 'online')])
def test_later_stages_are_the_unbroken_ones(toy_root, tmp_path, stage, before):
    start = run(tmp_path / 'minvis', 'minvis', toy_root, 1)
    if before == 'online':
        start = run(tmp_path / 'online', 'online', toy_root, 1, load_from=start)
    whole = Path(run(tmp_path / 'whole', stage, toy_root, 4, load_from=start))
    assert different(whole, resumed(whole, tmp_path / 'part', stage, toy_root, 2, start)) == []


@pytest.mark.slow
def test_workers_do_not_change_a_run(toy_root, tmp_path):
    one = run(tmp_path / 'one', 'minvis', toy_root, 3)
    options = {'train_dataloader.prefetch_factor': 2}
    assert different(one, run(tmp_path / 'two', 'minvis', toy_root, 3, workers=2, options=options)) == []
