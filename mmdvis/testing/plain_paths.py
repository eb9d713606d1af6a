"""The plain way through a model: what its formulas say word for word, without any of the package's shortcuts.

It is the reference that fast paths are tested against and the baseline that they are timed against. Deformable attention by
``grid_sample``, one call a level; attention with its matrix written out; attention masks of the decoder from masks at
stride 4; masks of all slots of every layer, as the released code of DVIS makes them for tracker and refiner.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdvis.models.detectors import DVIS
from mmdvis.models.functional import deform_attn
from mmdvis.models.functional.position_encoding import sine_encoding
from mmdvis.models.layers.attention import MultiheadAttention
from mmdvis.models.layers.transformer_decoder import MaskedDecoder


def grid_sample_attention(
    value: Tensor, shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor
) -> Tensor:
    """Deformable attention by ``grid_sample``; arguments as :func:`mmdvis.models.functional.deform_attn.deformable_attention`."""
    batch, _, heads, width = value.shape
    queries, found = locations.shape[1], []
    for level, ((h, w), part) in enumerate(zip(shapes, value.split([h * w for h, w in shapes], 1))):
        maps = part.permute(0, 2, 3, 1).reshape(batch * heads, width, h, w)
        grid = (2 * locations[:, :, :, level] - 1).transpose(1, 2).flatten(0, 1)
        found.append(F.grid_sample(maps, grid, align_corners=False))  # (B * heads, d, N, points)
    share = weights.transpose(1, 2).reshape(batch * heads, 1, queries, -1)
    mixed = (torch.stack(found, -2).flatten(-2) * share).sum(-1)
    return mixed.view(batch, heads * width, queries).transpose(1, 2).contiguous()


def plain_attention(
    self: MultiheadAttention, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None = None
) -> Tensor:
    """Attention with its matrix; arguments as :class:`MultiheadAttention`."""
    projections = zip((query, key, value), self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3))
    q, k, v = (F.linear(x, w, b).unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for x, w, b in projections)
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    if allowed is not None:
        scores = scores.masked_fill(~allowed[:, None].expand_as(scores), float('-inf'))
    return self.out_proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


def decode_with_masks(
    self: MaskedDecoder,
    x: Tensor,
    place: Tensor,
    memories: Sequence[Tensor],
    levels: Tensor,
    mask_features: Tensor,
    mask_embed: Callable[[Tensor], Tensor],
) -> list[Tensor]:
    """The decoder with masks at stride 4 after every layer; arguments as :class:`MaskedDecoder`."""
    tokens = [m.flatten(2).transpose(1, 2) + level for m, level in zip(memories, levels)]
    where = [sine_encoding(*m.shape[-2:], x.shape[-1], x) for m in memories]
    states = [x]
    for i in range(len(self.layers) + 1):
        masks = torch.einsum('nqm,nmhw->nqhw', mask_embed(self.post_norm(x)), mask_features)
        if i == len(self.layers):
            return states
        level = i % len(memories)
        small = F.interpolate(masks, size=memories[level].shape[-2:], mode='bilinear', align_corners=False)
        allowed = small.flatten(2).sigmoid() >= 0.5
        allowed = allowed | ~allowed.any(-1, keepdim=True)
        x = self.layers[i](x, place, tokens[level], where[level], allowed)
        states.append(x)


@contextmanager
def plain_path(model: DVIS) -> Iterator[None]:
    """Lets a model take the plain way inside a ``with``; results stay the same up to rounding."""

    def make_masks(module: Any, given: tuple, output: Any) -> None:
        tracks = output[0] if isinstance(output, tuple) else output
        for _ in module.layers:  # one set for every layer, all but the last in vain
            torch.einsum('btqm,btmhw->btqhw', tracks.mask_embeds, given[0].mask_features)

    handles = [
        stage.register_forward_hook(make_masks) for stage in (model.tracker, model.refiner) if hasattr(stage, 'layers')
    ]
    with (
        patch.object(deform_attn, 'gathered_attention', grid_sample_attention),
        patch.object(deform_attn, 'has_compiled_ops', lambda: False),
        patch.object(deform_attn, 'triton_runs', lambda device: False),
        patch.object(MultiheadAttention, 'forward', plain_attention),
        patch.object(MaskedDecoder, 'forward', decode_with_masks),
    ):
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
