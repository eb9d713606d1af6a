"""Segments and masks like those of a trained model, for measurements of models with random weights."""

from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from mmdvis.models.detectors import DVIS
from mmdvis.structures import FactoredMasks


@dataclass(frozen=True, eq=False)
class ReplacedFeatures:
    """Reads the mask features of a frame, and returns :func:`object_features` of the same size instead.

    Attributes:
        stored: Mask features (T, M, h, w), or a store that returns those of one frame (M, h, w).
        number: Number of objects.
    """

    stored: Any
    number: int

    def __getitem__(self, frame: int) -> Tensor:
        features = self.stored[frame]
        return object_features(self.number, features.shape, features.stride(), features.dtype, features.device)


def force_segments(model: DVIS, number: int) -> None:
    """Makes a model with random weights predict segments, by replacing its class scores and masks.

    The first ``number`` rows get the classes 0, 1, 2, ... with probability 1; all other rows are "no object". The
    masks of these rows become :func:`ellipses`: masks of random weights are noise, which takes longer to fuse than the
    masks of a trained model. A forward pre-hook of the postprocessor replaces both.

    Args:
        model: Model with a panoptic postprocessor whose ``overlap_thr`` is 0, so that no segment is removed.
        number: Number of rows that become segments.
    """
    model.postprocessor.register_forward_pre_hook(partial(with_segments, number))


def with_segments(number: int, postprocessor: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Forward pre-hook that replaces scores and masks of the prediction, see :func:`force_segments`."""
    prediction, *others = inputs
    scores = torch.zeros_like(prediction.scores)
    rows = torch.arange(min(number, scores.shape[-2]), device=scores.device)
    scores[..., len(rows) :, -1] = 1.0
    scores[..., rows, rows % (scores.shape[-1] - 1)] = 1.0
    masks = prediction.masks
    if isinstance(masks, FactoredMasks):
        masks = with_objects(masks, len(rows))
    return (replace(prediction, scores=scores, masks=masks), *others)


def with_objects(masks: FactoredMasks, number: int) -> FactoredMasks:
    """Masks whose first rows are :func:`ellipses`, each of them in its own mask channel.

    Raises:
        ValueError: There are fewer mask channels than rows.
    """
    channels = masks.embeds.shape[-1]
    if number > channels:
        raise ValueError(
            f'cannot force {number} segments on a model with {channels} mask channels; use at most {channels}'
        )
    embeds = torch.zeros_like(masks.embeds)
    rows = torch.arange(number, device=embeds.device)
    embeds[:, rows, rows] = 1
    features = ReplacedFeatures(masks.features, number)
    return replace(masks, embeds=embeds, bias=torch.zeros_like(masks.bias), features=features)


@lru_cache(1)
def object_features(
    number: int, shape: torch.Size, stride: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Mask features of the given shape (M, h, w), whose first ``number`` channels are :func:`ellipses`."""
    features = torch.empty_strided(shape, stride, dtype=dtype, device=device).zero_()
    features[:number] = ellipses(number, *shape[1:], torch.Generator().manual_seed(0))
    return features


def ellipses(number: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Mask logits (number, height, width) of ellipses between -9 and 6, with some noise."""
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing='ij')
    size = torch.tensor([height, width]).view(2, 1, 1)
    centre, radius = torch.rand(2, number, 2, 1, 1, generator=generator)
    radius = (0.02 + 0.25 * radius**2) * size
    distance = ((y - centre[:, 0] * height) / radius[:, 0]) ** 2 + ((x - centre[:, 1] * width) / radius[:, 1]) ** 2
    return 6 * (1 - distance).clamp(-1.5, 1) + 0.3 * torch.randn(number, height, width, generator=generator)
