"""Infinite sampler of training clips from one or several datasets."""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from mmengine.dataset import ConcatDataset
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from mmdvis.datasets.drawn_index import DrawnIndex
from mmdvis.registry import DATA_SAMPLERS

DRAWS, VIEWS = 1, 2  # mark the seeds of samples
SHAPES_AN_OCTAVE = 4  # aspect ratio bins per factor of 2, so ratios in a bin differ by less than about 20 %


@DATA_SAMPLERS.register_module()
class ClipSampler(Sampler):
    """Infinite weighted sampler: shuffles each dataset separately and draws the dataset of each index by weight.

    All processes generate the same stream from one seed and take its batches in turn, so that the processes get
    different clips. Each index carries a seed for the random draws of its sample, see :class:`DrawnIndex`, so a clip
    does not depend on the number of workers or processes. The sampler yields single indices in the order of the
    batches. The standard ``BatchSampler`` of PyTorch can therefore be used, and a resumed run can skip indices without
    loading data.

    Args:
        dataset: A dataset, or mmengine's ``ConcatDataset``.
        ratios: Sampling weight of each dataset of a ``ConcatDataset``. None uses the dataset lengths.
        batch_size: Batch size of the dataloader; only required with ``by_shape``.
        by_shape: Fill each batch with videos of similar aspect ratio.
        seed: Seed of the stream. None draws a seed that is shared by all processes.
        views: Number of augmented clips of each video, which return in turn. Fewer augmentations are an approximation,
            with which cached outputs of frozen stages return, see :class:`mmdvis.engine.FrozenOutputCacheHook`. None
            draws a new clip each time.

    Raises:
        ValueError: ``ratios``, ``batch_size`` or ``views`` is invalid.
    """

    def __init__(
        self,
        dataset: object,
        ratios: Sequence[float] | None = None,
        batch_size: int = 1,
        by_shape: bool = False,
        seed: int | None = None,
        views: int | None = None,
    ) -> None:
        self.rank, self.world_size = get_dist_info()
        self.parts = dataset.datasets if isinstance(dataset, ConcatDataset) else [dataset]
        self.lengths = [len(part) for part in self.parts]
        if ratios is not None and not (
            len(ratios) == len(self.parts) and min(ratios) >= 0 and 0 < sum(ratios) < float('inf')
        ):
            raise ValueError(
                f'ratios must be one non-negative weight for each of the {len(self.parts)} datasets, not all 0, got '
                f'{list(ratios)}'
            )
        if batch_size < 1:
            raise ValueError(f'batch_size must be at least 1, got {batch_size}')
        if views is not None and views < 1:
            raise ValueError(f'views must be at least 1, or None for a new clip each time, got {views}')
        weights = np.array(self.lengths if ratios is None else ratios, float)
        self.weights, self.batch_size, self.views = weights / weights.sum(), batch_size, views
        self.seed = sync_random_seed() if seed is None else seed
        self.shapes = shapes_of(self.parts) if by_shape else np.zeros(sum(self.lengths), int)
        self.skipped = 0

    def indices_of(self, part: int, rng: np.random.Generator) -> Iterator[int]:
        """Infinite stream of the indices of one dataset, reshuffled in each epoch."""
        start = sum(self.lengths[:part])
        while True:
            yield from (start + rng.permutation(self.lengths[part])).tolist()

    def indices(self) -> Iterator[int]:
        """Infinite stream of indices of all datasets, shared by all processes."""
        streams = [self.indices_of(part, np.random.default_rng((self.seed, part))) for part in range(len(self.parts))]
        rng = np.random.default_rng((self.seed, len(self.parts)))
        while True:
            for part in rng.choice(len(streams), 1024, p=self.weights):
                yield next(streams[part])

    def batches(self) -> Iterator[list[int]]:
        """Batches with one aspect ratio bin each, yielded as soon as they are full."""
        incomplete = {}
        for index in self.numbered(self.indices()):
            batch = incomplete.setdefault(int(self.shapes[index]), [])
            batch.append(index)
            if len(batch) == self.batch_size:
                del incomplete[int(self.shapes[index])]
                yield batch

    def __iter__(self) -> Iterator[int]:
        own_batches = islice(self.batches(), self.rank, None, self.world_size)
        return islice((index for batch in own_batches for index in batch), self.skipped, None)

    def numbered(self, indices: Iterator[int]) -> Iterator[DrawnIndex]:
        """Indices with seeds for the draws of their samples.

        The seeds depend on the position in the shared stream, or, with ``views``, on the index and the number of its
        view.
        """
        times: dict[int, int] = {}
        for position, index in enumerate(indices):
            seed = (DRAWS, position)
            if self.views is not None:
                times[index] = times.get(index, -1) + 1
                seed = (VIEWS, index, times[index] % self.views)
            yield DrawnIndex(index, (self.seed, *seed))

    def skip(self, num_samples: int) -> None:
        """Skip the first ``num_samples`` indices of this process, to resume a training run."""
        if num_samples < 0:
            raise ValueError(f'num_samples must be 0 or more, got {num_samples}')
        self.skipped = num_samples

    def __len__(self) -> int:
        return sum(self.lengths)

    def set_epoch(self, epoch: int) -> None:
        """Do nothing, because the stream has no epochs."""


def shapes_of(parts: Sequence[object]) -> np.ndarray:
    """Index of the aspect ratio bin of each video.

    Args:
        parts: Datasets with a ``video_sizes`` method.

    Raises:
        ValueError: A dataset has no ``video_sizes`` method.
    """
    unsupported = [type(part).__name__ for part in parts if not hasattr(part, 'video_sizes')]
    if unsupported:
        raise ValueError(f'by_shape requires datasets with a video_sizes method; {unsupported[0]} has none')
    sizes = (
        np.concatenate([part.video_sizes() for part in parts]).astype(float).clip(min=1)
    )  # unknown sizes are treated as square
    return np.round(SHAPES_AN_OCTAVE * np.log2(sizes[:, 1] / sizes[:, 0])).astype(int)
