"""The clip sampler: dataset ratios, shapes, processes and resuming."""

from itertools import islice

import numpy as np
import pytest
from mmengine.dataset import ConcatDataset
from torch.utils.data import BatchSampler, DataLoader

from mmdvis.datasets.samplers import ClipSampler, clip_sampler
from mmdvis.registry import DATA_SAMPLERS


class Videos:
    """Dataset that holds only video sizes."""

    def __init__(self, sizes):
        self.sizes = np.array(sizes)

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, index):
        return index

    def video_sizes(self):
        return self.sizes


class Mixture(ConcatDataset):
    """Concat dataset without the meta information that mmengine compares."""

    def __init__(self, *parts):
        self.datasets = list(parts)

    def __len__(self):
        return sum(map(len, self.datasets))


def take(sampler, number):
    return list(islice(iter(sampler), number))


def test_one_dataset_is_shuffled_round_by_round():
    indices = take(ClipSampler(Videos([(4, 4)] * 7), seed=1), 21)
    rounds = [indices[k : k + 7] for k in (0, 7, 14)]
    assert all(sorted(part) == list(range(7)) for part in rounds) and rounds[0] != rounds[1]


def test_views_of_a_video_return_in_turn():
    number, views = 7, 3
    indices = take(ClipSampler(Videos([(4, 4)] * number), seed=1, views=views), 4 * views * number)
    seeds = {index: [other.seed for other in indices if other == index] for index in range(number)}
    for own in seeds.values():
        assert own == own[:views] * 4 and len(set(own[:views])) == views
    assert len({seed for own in seeds.values() for seed in own}) == number * views
    unlimited = take(ClipSampler(Videos([(4, 4)] * number), seed=1), len(indices))
    assert unlimited == indices and len({index.seed for index in unlimited}) == len(indices)
    assert not {index.seed for index in unlimited} & {index.seed for index in indices}
    resumed = ClipSampler(Videos([(4, 4)] * number), seed=1, views=views)
    resumed.skip(20)
    assert [index.seed for index in take(resumed, 30)] == [index.seed for index in indices[20:50]]


def test_views_are_shared_by_processes_and_datasets(monkeypatch):
    mixture = Mixture(Videos([(4, 4)] * 3 + [(4, 9)] * 3), Videos([(4, 4)] * 4))
    seeds = []
    for rank in range(2):
        monkeypatch.setattr(clip_sampler, 'get_dist_info', lambda rank=rank: (rank, 2))
        sampler = ClipSampler(mixture, batch_size=2, by_shape=True, seed=5, views=2)
        seeds += [(int(index), index.seed) for index in take(sampler, 400)]
    counts = {seed: seeds.count(seed) for seed in set(seeds)}
    assert len(counts) == 10 * 2 and all(seed[2] == index for index, seed in counts)
    for index in range(10):
        first, second = (count for (other, _), count in counts.items() if other == index)
        assert abs(first - second) <= 4


def test_datasets_come_by_their_ratios():
    mixture = Mixture(Videos([(4, 4)] * 5), Videos([(4, 4)] * 50))
    indices = np.array(take(ClipSampler(mixture, ratios=[1.0, 0.75], seed=0), 7000))
    assert abs((indices < 5).mean() - 1 / 1.75) < 0.02
    by_length = np.array(take(ClipSampler(mixture, seed=0), 5500))
    assert abs((by_length < 5).mean() - 5 / 55) < 0.02
    assert set(take(ClipSampler(mixture, ratios=[0, 1], seed=0), 500)) == set(range(5, 55))


@pytest.mark.parametrize('by_shape', (False, True))
def test_skipping_goes_on_where_the_stream_was(by_shape):
    sizes = [(9, 16)] * 6 + [(16, 9)] * 5 + [(3, 4)] * 4
    options = dict(batch_size=2, by_shape=by_shape, seed=3)
    whole = take(ClipSampler(Videos(sizes), **options), 60)
    resumed = ClipSampler(Videos(sizes), **options)
    resumed.skip(24)
    assert take(resumed, 36) == whole[24:]
    assert take(ClipSampler(Videos(sizes), **options), 60) == whole
    with pytest.raises(ValueError, match='must be 0 or more, got -1'):
        resumed.skip(-1)


def test_a_batch_has_one_shape_and_torch_groups_it():
    sizes = [(720, 1280)] * 9 + [(1280, 720)] * 4 + [(720, 960)] * 5 + [(718, 1280)]
    dataset = Videos(sizes)
    sampler = ClipSampler(dataset, batch_size=3, by_shape=True, seed=0)
    batches = list(islice(iter(BatchSampler(sampler, 3, drop_last=True)), 200))
    kinds = [{'near' if i < 9 or i == 18 else 'tall' if i < 13 else 'flat' for i in batch} for batch in batches]
    assert all(len(kind) == 1 for kind in kinds) and set.union(*kinds) == {'near', 'tall', 'flat'}
    counts = np.bincount(np.concatenate(batches), minlength=19)
    assert counts.min() > 0.7 * counts.mean()  # every video is drawn regularly


def test_processes_share_a_round(monkeypatch):
    indices = []
    for rank in range(2):
        monkeypatch.setattr(clip_sampler, 'get_dist_info', lambda: (rank, 2))
        indices.append(take(ClipSampler(Videos([(4, 4)] * 8), batch_size=2, seed=5), 4))
    monkeypatch.setattr(clip_sampler, 'get_dist_info', lambda: (0, 1))
    alone = take(ClipSampler(Videos([(4, 4)] * 8), batch_size=2, seed=5), 8)
    assert sorted(indices[0] + indices[1]) == list(range(8)) == sorted(alone)
    assert indices[0] == alone[0:2] + alone[4:6] and indices[1] == alone[2:4] + alone[6:8]


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(ratios=[1.0]), 'one non-negative weight for each of the 2 datasets'),
        (dict(ratios=[0, 0]), 'not all 0'),
        (dict(batch_size=0), 'batch_size must be at least 1, got 0'),
        (dict(views=0), 'views must be at least 1, or None for a new clip each time, got 0'),
    ],
)
def test_impossible_streams(options, message):
    with pytest.raises(ValueError, match=message):
        ClipSampler(Mixture(Videos([(4, 4)]), Videos([(4, 4)])), **options)


def test_the_engine_can_skip_through_the_loader():
    """mmengine resumes at the sampler only with the plain BatchSampler of PyTorch."""
    from mmengine.runner.loops import _InfiniteDataloaderIterator

    dataset = Videos([(4, 4)] * 9)

    def loader():
        return DataLoader(dataset, batch_size=2, sampler=ClipSampler(dataset, batch_size=2, seed=1))

    whole = [batch.tolist() for batch in islice(iter(loader()), 8)]
    resumed = _InfiniteDataloaderIterator(loader())
    resumed.skip_iter(5)
    assert [next(resumed).tolist() for _ in range(3)] == whole[5:]


def test_it_is_registered():
    assert DATA_SAMPLERS.get('ClipSampler') is ClipSampler
