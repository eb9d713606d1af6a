"""Mask sources: masks computed on demand from mask embeddings and mask features."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdvis.checks import Size, check_shapes

from .linear import linear


class FrameSize(NamedTuple):
    """Sizes (height, width) of a frame at the stages of inference.

    Attributes:
        padded: Size of the network input, a multiple of the padding divisor.
        image: Size after the test-time resize, without padding.
        original: Size of the results.
    """

    padded: Size
    image: Size
    original: Size


class FeatureStore(Protocol):
    """Mask features by frame, appended in order and read by index; reading in order is fastest."""

    def append(self, features: Tensor) -> None:
        """Appends the features (t, M, h, w) of the next frames."""

    def __getitem__(self, frame: int) -> Tensor:
        """Returns the features (M, h, w) of a frame."""


@dataclass(frozen=True, eq=False)
class ExpandedFeatures:
    """Mask features at stride 4, enlarged from compact ones when they are read.

    Attributes:
        compact: Compact mask features (T, C, h, w), or a store that returns those of one frame (C, h, w).
        expand: Function from compact mask features (1, C, h, w) to mask features (1, M, H, W).
    """

    compact: Tensor | FeatureStore
    expand: Callable[[Tensor], Tensor]

    def __getitem__(self, frame: int) -> Tensor:
        return self.expand(self.compact[frame][None])[0]


class FrameMaps(Protocol):
    """Integer maps (H, W), one per frame, read by index."""

    def __getitem__(self, frame: int) -> Tensor:
        """Returns the map (H, W) of a frame."""

    def __len__(self) -> int:
        """Number of frames."""


class MapStore(FrameMaps, Protocol):
    """Maps of frames, appended in order."""

    def append(self, values: Tensor) -> None:
        """Appends the map (H, W) of the next frame."""


class MaskSource(Protocol):
    """Masks of one video at the original size, computed on demand for given rows in a given frame."""

    def logits(self, rows: Tensor, frame: int) -> Tensor:
        """Mask logits (len(rows), H, W), resized as logits; thresholded by instance segmentation."""

    def probs(self, rows: Tensor, frame: int) -> Tensor:
        """Mask probabilities (len(rows), H, W) in [0, 1], for panoptic and semantic segmentation."""


def resize(maps: Tensor, size: Size) -> Tensor:
    """Resizes maps (N, h, w) to ``size`` bilinearly, with ``align_corners=False``."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    if not len(maps):  # interpolate does not support empty inputs, as in videos without objects
        return maps.new_zeros(0, *size)
    return F.interpolate(maps[None], size=size, mode='bilinear', align_corners=False)[0]


def to_image(maps: Tensor, size: FrameSize) -> Tensor:
    """Resizes maps (N, h, w) at stride 4 to the padded size and crops them to the image size."""
    height, width = size.image
    return resize(maps, size.padded)[:, :height, :width]


@dataclass(frozen=True, eq=False)
class FactoredMasks:
    """Masks stored as mask embeddings and mask features; mask logits are computed only for the requested rows.

    Attributes:
        embeds: Mask embeddings (T, Q, M) of the tracks.
        bias: Mask bias (T, Q) of the tracks.
        features: Mask features (T, M, h, w), or a store that returns those of one frame (M, h, w).
        size: Sizes of the frames of the video.
    """

    embeds: Tensor
    bias: Tensor
    features: Tensor | FeatureStore | ExpandedFeatures
    size: FrameSize

    def __post_init__(self) -> None:
        check_shapes(
            self, dict(embeds='TQM', bias='TQ', **(dict(features='TMhw') if torch.is_tensor(self.features) else {}))
        )

    def small(self, rows: Tensor, frame: int) -> Tensor:
        """Mask logits (len(rows), h, w) at stride 4, at least in float32."""
        embeds = self.embeds[frame, rows]
        features = self.features[frame].to(embeds)
        product = linear(embeds, features.flatten(1).T, None).unflatten(1, features.shape[1:])
        return product.to(torch.promote_types(product.dtype, torch.float32)).add_(self.bias[frame, rows, None, None])

    def logits(self, rows: Tensor, frame: int) -> Tensor:
        """Mask logits (len(rows), H, W) at the original size."""
        if not len(rows):  # without rows, no features need to be loaded
            return self.embeds.new_zeros(0, *self.size.original)
        return resize(to_image(self.small(rows, frame), self.size), self.size.original)

    def probs(self, rows: Tensor, frame: int) -> Tensor:
        """Mask probabilities (len(rows), H, W); the sigmoid is applied at the image size, as in the official code."""
        if not len(rows):
            return self.embeds.new_zeros(0, *self.size.original)
        return resize(to_image(self.small(rows, frame), self.size).sigmoid(), self.size.original)


@dataclass(frozen=True, eq=False)
class FlippedMasks:
    """Masks of a test-time augmentation pass on horizontally flipped frames, flipped back."""

    masks: MaskSource

    def logits(self, rows: Tensor, frame: int) -> Tensor:
        """Mask logits (len(rows), H, W)."""
        return self.masks.logits(rows, frame).flip(-1)

    def probs(self, rows: Tensor, frame: int) -> Tensor:
        """Mask probabilities (len(rows), H, W)."""
        return self.masks.probs(rows, frame).flip(-1)


@dataclass(frozen=True, eq=False)
class AveragedMasks:
    """Mean mask probabilities of several passes.

    Attributes:
        passes: Masks of each pass, all of the same size.
        orders: For each pass (Q,) int64, the row that matches row q of the first pass; -1 if there is none. The mean is
            taken over the passes with a matching row.
    """

    passes: tuple[MaskSource, ...]
    orders: tuple[Tensor, ...]

    def probs(self, rows: Tensor, frame: int) -> Tensor:
        """Mask probabilities (len(rows), H, W)."""
        totals, counts = [], []
        for masks, order in zip(self.passes, self.orders):
            matched = order.to(rows.device)[rows]
            is_matched = matched >= 0
            totals.append(masks.probs(matched.clamp(min=0), frame) * is_matched[:, None, None])
            counts.append(is_matched)
            if len(totals) > 1:  # holds at most two maps at a time
                totals[:] = [totals[0] + totals[1]]
        return totals[0] / torch.stack(counts).sum(0)[:, None, None]

    def logits(self, rows: Tensor, frame: int) -> Tensor:
        """Logits (len(rows), H, W) of the mean probabilities; they are positive for probabilities above 0.5."""
        return torch.logit(self.probs(rows, frame), eps=1e-6)
