"""Compares values computed by mmdvis models with values of the official code from a folder of parity fixtures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmdvis.structures import FrameQueries, TrackQueries

TOLERANCE, MIN_SHARE = 1e-4, 0.9995  # absolute and relative tolerance; minimum share of equal pixels
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Comparison:
    """Result of comparing one quantity.

    Attributes:
        name: Name of the quantity in the fixture.
        verdict: ``'ok'``, ``'FAIL'`` or ``'skip'``.
        found: Description of the deviation.
    """

    name: str
    verdict: str
    found: str


def verdict(holds: bool) -> str:
    """``'ok'`` if ``holds``, else ``'FAIL'``."""
    return 'ok' if holds else 'FAIL'


def compare_values(name: str, value: Tensor, expected: np.ndarray | Tensor) -> Comparison:
    """Compares values; the error of each must be at most 1e-4 + 1e-4 * |expected|."""
    expected = torch.as_tensor(np.array(expected)).float()
    if value.shape != expected.shape:
        return Comparison(name, 'FAIL', f'the shape is {tuple(value.shape)} and should be {tuple(expected.shape)}')
    if not value.numel():
        return Comparison(name, 'ok', 'empty, as expected')
    error = (value.float() - expected).abs()
    relative = float((error / expected.abs().clamp(min=1e-12)).max())
    share = float((error / (TOLERANCE + TOLERANCE * expected.abs())).max())
    return Comparison(
        name,
        verdict(share <= 1),
        f'largest error {float(error.max()):.2e} absolute, {relative:.2e} relative, {share:.3f} of the tolerance',
    )


def compare_pixels(name: str, value: np.ndarray, expected: np.ndarray) -> Comparison:
    """Compares pixels; at least 99.95 % must be equal."""
    if value.shape != expected.shape:
        return Comparison(name, 'FAIL', f'the shape is {tuple(value.shape)} and should be {tuple(expected.shape)}')
    wrong = int((np.asarray(value) != np.asarray(expected)).sum())
    share = 1 - wrong / max(value.size, 1)
    return Comparison(name, verdict(share >= MIN_SHARE), f'{100 * share:.4f} % of the pixels equal, {wrong} not')


def compare_equal(name: str, value: object, expected: object) -> Comparison:
    """Compares objects that must be equal."""
    return Comparison(
        name, verdict(value == expected), 'equal' if value == expected else f'is {value}, should be {expected}'
    )


def compare_heads(prefix: str, queries: FrameQueries | TrackQueries, expected: Arrays) -> list[Comparison]:
    """Compares class logits, mask logits and embeddings of one stage, in the axis order of the official code.

    Mask logits are compared in the first frames, as many as the fixture contains.
    """
    num_frames = expected[f'{prefix}.pred_masks'].shape[2]
    values = dict(
        pred_logits=queries.class_logits,
        pred_masks=dense_masks(queries)[:, :, :num_frames],
        pred_embds=queries.embeds.permute(0, 3, 1, 2),
    )
    return [compare_values(f'{prefix}.{name}', value, expected[f'{prefix}.{name}']) for name, value in values.items()]


def dense_masks(queries: FrameQueries | TrackQueries) -> Tensor:
    """Mask logits (B, Q, T, h, w) of frame queries or tracks."""
    masks = torch.einsum('btqm,btmhw->bqthw', queries.mask_embeds, queries.mask_features)
    if isinstance(queries, TrackQueries):
        masks = masks + queries.mask_bias.transpose(1, 2)[..., None, None]
    return masks


def report(found: Sequence[Comparison]) -> tuple[str, bool]:
    """Formats comparisons.

    Args:
        found: Comparisons.

    Returns:
        Text with one line per quantity, and whether no comparison failed.
    """
    width = max((len(c.name) for c in found), default=0) + 2
    lines = [f'{c.verdict:<5}{c.name:<{width}}{c.found}' for c in found]
    return '\n'.join(lines), all(c.verdict != 'FAIL' for c in found)
