"""An endless stream of videos from one dataset or a mixture of several."""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from mmengine.dataset import ConcatDataset
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from mmdvis.registry import DATA_SAMPLERS

SHAPES_AN_OCTAVE = 4  # videos are of one shape if their ratios of width to height differ by less than about a fifth


@DATA_SAMPLERS.register_module()
class ClipSampler(Sampler):
    """Shuffles each dataset for itself, and draws the next one by weight.

    All processes draw the same stream from one seed and take its batches in turn, so no two see the same clip of a round. The
    batches are made here, out of single indices, so that torch's plain BatchSampler serves and a resumed run can skip what was
    seen without reading it.

    Args:
        dataset: a dataset, or mmengine's ConcatDataset.
        ratios: weight of each dataset of a ConcatDataset; None: by their lengths.
        batch_size: clips of a batch, as the dataloader has it; matters only with ``by_shape``.
        by_shape: fill each batch with videos of one shape (ratio of width to height).
        seed: of the stream; None: drawn once for all processes.

    Raises:
        ValueError: the weights do not fit the datasets.
    """

    def __init__(
        self,
        dataset: object,
        ratios: Sequence[float] | None = None,
        batch_size: int = 1,
        by_shape: bool = False,
        seed: int | None = None,
    ) -> None:
        self.rank, self.world_size = get_dist_info()
        self.parts = dataset.datasets if isinstance(dataset, ConcatDataset) else [dataset]
        self.lengths = [len(part) for part in self.parts]
        if ratios is not None and not (
            len(ratios) == len(self.parts) and min(ratios) >= 0 and 0 < sum(ratios) < float('inf')
        ):
            raise ValueError(
                f'ratios must be one weight from 0 on for each of the {len(self.parts)} datasets, not all 0, got '
                f'{list(ratios)}'
            )
        if batch_size < 1:
            raise ValueError(f'batch_size must be at least 1, got {batch_size}')
        weights = np.array(self.lengths if ratios is None else ratios, float)
        self.weights, self.batch_size = weights / weights.sum(), batch_size
        self.seed = sync_random_seed() if seed is None else seed
        self.shapes = shapes_of(self.parts) if by_shape else np.zeros(sum(self.lengths), int)
        self.skipped = 0

    def indices_of(self, part: int, rng: np.random.Generator) -> Iterator[int]:
        """The indices of one dataset, shuffled anew each round."""
        start = sum(self.lengths[:part])
        while True:
            yield from (start + rng.permutation(self.lengths[part])).tolist()

    def indices(self) -> Iterator[int]:
        """The stream of all processes."""
        streams = [self.indices_of(part, np.random.default_rng((self.seed, part))) for part in range(len(self.parts))]
        rng = np.random.default_rng((self.seed, len(self.parts)))
        while True:
            for part in rng.choice(len(streams), 1024, p=self.weights):
                yield next(streams[part])

    def batches(self) -> Iterator[list[int]]:
        """Batches of one shape, in the order in which they become full."""
        waiting = {}
        for index in self.indices():
            batch = waiting.setdefault(int(self.shapes[index]), [])
            batch.append(index)
            if len(batch) == self.batch_size:
                del waiting[int(self.shapes[index])]
                yield batch

    def __iter__(self) -> Iterator[int]:
        mine = islice(self.batches(), self.rank, None, self.world_size)
        return islice((index for batch in mine for index in batch), self.skipped, None)

    def skip(self, num_samples: int) -> None:
        """Begins ``num_samples`` indices of this process after the start of the stream, as a resumed run wants it."""
        if num_samples < 0:
            raise ValueError(f'num_samples must be 0 or more, got {num_samples}')
        self.skipped = num_samples

    def __len__(self) -> int:
        return sum(self.lengths)

    def set_epoch(self, epoch: int) -> None:
        """Does nothing: the stream has no epochs."""


def shapes_of(parts: Sequence[object]) -> np.ndarray:
    """A number for the shape of every video."""
    without = [type(part).__name__ for part in parts if not hasattr(part, 'video_sizes')]
    if without:
        raise ValueError(f'by_shape needs datasets that know the sizes of their videos, {without[0]} does not')
    sizes = (
        np.concatenate([part.video_sizes() for part in parts]).astype(float).clip(min=1)
    )  # unknown ones count as square
    return np.round(SHAPES_AN_OCTAVE * np.log2(sizes[:, 1] / sizes[:, 0])).astype(int)
