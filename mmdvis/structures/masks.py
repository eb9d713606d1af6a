"""Where masks come from: a product of two factors, or values already multiplied out."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdvis.checks import Size, check_shapes


class FrameSize(NamedTuple):
    """The three sizes (height, width) of a frame on its way through the model.

    Attributes:
        padded: what the network saw, a multiple of the padding divisor.
        image: the frame without padding, after the test-time resize.
        original: the size in which results are wanted.
    """

    padded: Size
    image: Size
    original: Size


class FeatureStore(Protocol):
    """Frames are put in once, in their order, and may then be asked for, best in their order, too."""

    def append(self, features: Tensor) -> None:
        """Features (t, M, h, w) of the next frames."""

    def __getitem__(self, frame: int) -> Tensor:
        """Features (M, h, w) of a frame."""


class MapStore(Protocol):
    """Maps (H, W) of small integers, one per frame, appended in order and read by index."""

    def append(self, values: Tensor) -> None:
        """Adds the map (H, W) of the next frame."""

    def __getitem__(self, frame: int) -> Tensor:
        """The map (H, W) of a frame."""

    def __len__(self) -> int:
        """Number of frames."""


class MaskSource(Protocol):
    """Masks of one video at the output size, made for the rows and the frame that are asked for."""

    def logits(self, rows: Tensor, frame: int) -> Tensor:
        """Mask logits (len(rows), H, W) resized as logits, as instance results threshold them."""

    def probs(self, rows: Tensor, frame: int) -> Tensor:
        """Mask probabilities (len(rows), H, W) in [0, 1], as panoptic and semantic results weigh them."""


def resize(maps: Tensor, size: Size) -> Tensor:
    """Bilinear resize of (N, h, w) to ``size``, corners not aligned."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    if not len(maps):  # interpolate refuses what a video without objects asks for
        return maps.new_zeros(0, *size)
    return F.interpolate(maps[None], size=size, mode='bilinear', align_corners=False)[0]


def to_image(maps: Tensor, size: FrameSize) -> Tensor:
    """(N, h, w) at stride 4 -> (N, image height, image width): resize to the padded size, then cut the padding."""
    height, width = size.image
    return resize(maps, size.padded)[:, :height, :width]


@dataclass(frozen=True, eq=False)
class FactoredMasks:
    """Mask logits kept as their factors, so that only the rows that survive are ever multiplied out.

    Attributes:
        embeds (T, Q, M), bias (T, Q): of the tracks.
        features: (T, M, h, w) of the frames, or a store that gives those of one, (M, h, w).
        size: the sizes of every frame of the video.
    """

    embeds: Tensor
    bias: Tensor
    features: Tensor | FeatureStore
    size: FrameSize

    def __post_init__(self) -> None:
        check_shapes(
            self, dict(embeds='TQM', bias='TQ', **(dict(features='TMhw') if torch.is_tensor(self.features) else {}))
        )

    def small(self, rows: Tensor, frame: int) -> Tensor:
        """Mask logits (len(rows), h, w) at stride 4."""
        embeds = self.embeds[frame, rows]
        product = torch.einsum('qm,mhw->qhw', embeds, self.features[frame].to(embeds))
        return product.to(torch.promote_types(product.dtype, torch.float32)) + self.bias[frame, rows, None, None]

    def logits(self, rows: Tensor, frame: int) -> Tensor:
        """Mask logits (len(rows), H, W) at the original size."""
        if not len(rows):  # nobody's masks need no features
            return self.embeds.new_zeros(0, *self.size.original)
        return resize(to_image(self.small(rows, frame), self.size), self.size.original)

    def probs(self, rows: Tensor, frame: int) -> Tensor:
        """Mask probabilities (len(rows), H, W): the sigmoid is taken at the image size, as the official code does."""
        if not len(rows):
            return self.embeds.new_zeros(0, *self.size.original)
        return resize(to_image(self.small(rows, frame), self.size).sigmoid(), self.size.original)


@dataclass(frozen=True, eq=False)
class FlippedMasks:
    """The masks of a pass that saw its frames mirrored, mirrored back."""

    masks: MaskSource

    def logits(self, rows: Tensor, frame: int) -> Tensor:
        """Mask logits (len(rows), H, W)."""
        return self.masks.logits(rows, frame).flip(-1)

    def probs(self, rows: Tensor, frame: int) -> Tensor:
        """Mask probabilities (len(rows), H, W)."""
        return self.masks.probs(rows, frame).flip(-1)


@dataclass(frozen=True, eq=False)
class AveragedMasks:
    """The mean of the mask probabilities of several passes.

    Attributes:
        passes: the masks of each, all of one size.
        orders: of each pass (Q,): int64, which of its rows is row q of the first; -1: none, and the others count.
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
            if len(totals) > 1:  # at most two maps are held
                totals[:] = [totals[0] + totals[1]]
        return totals[0] / torch.stack(counts).sum(0)[:, None, None]

    def logits(self, rows: Tensor, frame: int) -> Tensor:
        """Logits of the mean probabilities, positive where they pass one half."""
        return torch.logit(self.probs(rows, frame), eps=1e-6)
