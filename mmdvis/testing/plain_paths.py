"""Reference implementation of the model's operations, which follows the formulas without optimisations.

Optimised operations are tested and timed against it. It uses:

* deformable attention with one ``grid_sample`` call per level,
* attention with an explicit attention matrix,
* attention masks of the decoder computed from mask logits at stride 4,
* mask logits of all queries in every layer, as the released code of DVIS computes them in tracker and refiner.
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
from mmdvis.models.functional.deform_attn import grid_sample_attention
from mmdvis.models.functional.position_encoding import sine_encoding
from mmdvis.models.layers.attention import MultiheadAttention
from mmdvis.models.layers.transformer_decoder import MaskedDecoder


def plain_attention(
    self: MultiheadAttention, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None = None
) -> Tensor:
    """Attention with an explicit attention matrix; arguments as in :class:`MultiheadAttention`."""
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
    """Decoder that computes mask logits at stride 4 after every layer; arguments as in :class:`MaskedDecoder`."""
    tokens = [m.flatten(2).transpose(1, 2) + level for m, level in zip(memories, levels)]
    positions = [sine_encoding(*m.shape[-2:], x.shape[-1], x) for m in memories]
    states = [x]
    for i in range(len(self.layers) + 1):
        masks = torch.einsum('nqm,nmhw->nqhw', mask_embed(self.post_norm(x)), mask_features)
        if i == len(self.layers):
            return states
        level = i % len(memories)
        small = F.interpolate(masks, size=memories[level].shape[-2:], mode='bilinear', align_corners=False)
        allowed = small.flatten(2).sigmoid() >= 0.5
        allowed = allowed | ~allowed.any(-1, keepdim=True)
        x = self.layers[i](x, place, tokens[level], positions[level], allowed)
        states.append(x)


@contextmanager
def plain_path(model: DVIS) -> Iterator[None]:
    """Context manager in which a model uses the reference implementation; results are the same up to rounding."""

    def make_masks(module: Any, given: tuple, output: Any) -> None:
        tracks = output[0] if isinstance(output, tuple) else output
        for _ in module.layers:  # once per layer as in the released code, although only the last result is used
            torch.einsum('btqm,btmhw->btqhw', tracks.mask_embeds, given[0].mask_features)

    handles = [
        stage.register_forward_hook(make_masks) for stage in (model.tracker, model.refiner) if hasattr(stage, 'layers')
    ]
    with (
        patch.object(deform_attn, 'gathered_attention', grid_sample_attention),
        patch.object(deform_attn, 'has_compiled_ops', lambda: False),
        patch.object(deform_attn, 'triton_runs', lambda device: False),
        patch.object(deform_attn, 'numba_runs', lambda width, dtype: False),
        patch.object(MultiheadAttention, 'forward', plain_attention),
        patch.object(MaskedDecoder, 'forward', decode_with_masks),
    ):
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
