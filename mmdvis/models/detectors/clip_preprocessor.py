"""Normalisation and padding of uint8 frames."""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mmdvis.checks import check_choice
from mmdvis.registry import MODELS
from mmdvis.results import VideoDataSample
from mmdvis.structures import VOID, ClipTargets

FILLS = ('zero', 'black')
MIXED_SIZES_WARNING = (
    'a batch contains clips of different sizes, so all are padded to the largest; use ClipSampler(by_shape=True) to '
    'batch clips of the same shape, or crop all clips to one size'
)


@MODELS.register_module()
class ClipPreprocessor(BaseDataPreprocessor):
    """Normalises frames and pads them on the right and at the bottom.

    Args:
        mean: Mean of each RGB channel, for values in [0, 255].
        std: Standard deviation of each RGB channel, for values in [0, 255].
        divisor: Padded heights and widths are multiples of it.
        square: Whether frames are padded to squares, as in the evaluation of EoMT.
        fill: ``'zero'`` pads normalised frames with 0, the mean colour; ``'black'`` pads frames with black before they
            are normalised, as EoMT does.

    Raises:
        ValueError: If ``fill`` is unknown.
    """

    def __init__(
        self,
        mean: Sequence[float] = (123.675, 116.28, 103.53),
        std: Sequence[float] = (58.395, 57.12, 57.375),
        divisor: int = 32,
        square: bool = False,
        fill: str = 'zero',
    ) -> None:
        super().__init__()
        check_choice('fill', fill, FILLS)
        self.divisor, self.square, self.fill = divisor, square, fill
        self.register_buffer('mean', torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Prepares a collated batch.

        Args:
            data: ``inputs`` and ``data_samples``, one entry per clip.
            training: Whether the batch is used for training. At test time it is returned unchanged.

        Returns:
            ``inputs``: normalised and padded clips (B, T, 3, H, W). ``data_samples``: samples with ``gt_targets`` of
            the same size.

        Raises:
            ValueError: If the clips of the batch have different lengths.
        """
        if not training:  # at test time the detector reads frame sources window by window
            return data
        data = self.cast_data(data)
        lengths = {len(clip) for clip in data['inputs']}
        if len(lengths) > 1:
            raise ValueError(f'the clips of a training batch must have the same length, got {sorted(lengths)} frames')
        if len({self.padded(tuple(clip.shape[-2:])) for clip in data['inputs']}) > 1:
            warnings.warn(MIXED_SIZES_WARNING, stacklevel=2)  # shown only once by default
        size = self.padded(tuple(max(clip.shape[axis] for clip in data['inputs']) for axis in (-2, -1)))
        inputs = torch.stack([self.normalise(clip, size) for clip in data['inputs']])
        return dict(inputs=inputs, data_samples=[with_targets(sample, size) for sample in data['data_samples']])

    def padded(self, size: tuple[int, int]) -> tuple[int, int]:
        """Padded (height, width) of frames of ``size`` (height, width)."""
        if self.square:
            size = (max(size), max(size))
        height, width = (-(-length // self.divisor) * self.divisor for length in size)
        return height, width

    def normalise(self, frames: Tensor, size: tuple[int, int]) -> Tensor:
        """Normalises and pads frames on the device of this module.

        Args:
            frames: Frames (t, 3, H, W) uint8.
            size: Padded (height, width).

        Returns:
            Frames (t, 3, *size) float32.
        """
        frames = frames.to(self.mean.device, non_blocking=True).float()
        if self.fill == 'black':
            return (pad(frames, size) - self.mean) / self.std
        return pad((frames - self.mean) / self.std, size)


def pad(maps: Tensor, size: tuple[int, int], value: int = 0) -> Tensor:
    """Pads maps (..., H, W) with ``value`` on the right and at the bottom to ``size`` (height, width)."""
    return F.pad(maps, (0, size[1] - maps.shape[-1], 0, size[0] - maps.shape[-2]), value=value)


def with_targets(sample: VideoDataSample, size: tuple[int, int]) -> VideoDataSample:
    """A copy of a training sample with ``gt_targets`` instead of its index maps.

    Args:
        sample: Sample with ``gt_index_maps``, ``gt_ids`` and ``gt_labels``, and ``gt_semantic`` and ``flows`` if known.
        size: Padded (height, width) of the targets.
    """
    name = f'video {sample.get("video_id", "?")}, frames {list(sample.get("frame_indices", []))}'
    maps, ignored = sample.gt_index_maps, None
    if sample.get('ignore_void'):
        ignored = pad((maps == 0).all(0), size)  # padding is background and not ignored
    semantic = pad(sample.gt_semantic, size, VOID) if 'gt_semantic' in sample else None
    targets = ClipTargets.from_index_maps(pad(maps, size), sample.gt_ids, sample.gt_labels, name, ignored, semantic)
    copy = VideoDataSample(metainfo=sample.metainfo)
    copy.set_field(targets, 'gt_targets')
    if 'flows' in sample:
        shape = sample.flows.shape[-2:]
        rest = [min(-length % 4, limit - length) for length, limit in zip(shape, size)]  # up to whole cells
        flows = F.pad(sample.flows, (0, rest[1], 0, rest[0]), mode='replicate')
        copy.set_field(pad(flows, size), 'flows')
    return copy
