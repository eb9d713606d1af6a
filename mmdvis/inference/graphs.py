"""Stages of a model as graphs with tensors in and out, for export to other runtimes."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

QUERIES = ('embeds', 'match_embeds', 'class_logits', 'mask_embeds', 'mask_features')
STEP = ('outputs', 'normed', 'class_logits', 'mask_embeds', 'mask_bias')
REFINED = ('refined', 'class_logits', 'mask_embeds')


class SegmenterGraph(nn.Module):
    """Normalised frame (1, 3, H, W) -> queries of the frame; see ``QUERIES``.

    Args:
        segmenter: The segmenter.
    """

    def __init__(self, segmenter: nn.Module) -> None:
        super().__init__()
        self.segmenter: Any = segmenter

    def forward(self, frame: Tensor) -> tuple[Tensor, ...]:
        """Embeddings (Q, C) and (Q, D), class logits (Q, K + 1), mask embeddings (Q, M), mask features (M, h, w)."""
        queries = self.segmenter(frame[None])
        return tuple(getattr(queries, name)[0, 0] for name in QUERIES)


class StepGraph(nn.Module):
    """A step of the referring tracker on one frame, whose queries are in track order; see ``STEP``.

    Args:
        tracker: The tracker.
    """

    def __init__(self, tracker: nn.Module) -> None:
        super().__init__()
        self.tracker: Any = tracker

    def heads(self, outputs: Tensor, references: Tensor) -> tuple[Tensor, ...]:
        """Outputs (Q, C), the same after the norm, class logits, mask embeddings (Q, M) and mask bias (Q,)."""
        tracker = self.tracker
        clip = SimpleNamespace(outputs=outputs[None, :, None], references=references[:, None])
        features = outputs.new_zeros(1, 1, tracker.mask_embed[-1].out_features, 1, 1)
        heads = tracker.predict(clip, features)
        bias = outputs.new_zeros(outputs.shape[1]) if heads.mask_bias is None else heads.mask_bias[0, 0, 0]
        normed = tracker.decoder_norm(outputs[0])
        return outputs[0], normed, heads.class_logits[0, 0, 0], heads.mask_embeds[0, 0, 0], bias


class FirstStepGraph(StepGraph):
    """Step on the first frame of a video: each layer refers to its own input."""

    def forward(self, aligned: Tensor, frame: Tensor) -> tuple[Tensor, ...]:
        """Decodes queries (Q, C) in track order and in the order of the frame."""
        outputs = self.tracker.decode(aligned[None], frame[None], None)[-1]
        return self.heads(outputs, self.tracker.refer_to(aligned[None]))


class NextStepGraph(StepGraph):
    """Step on a later frame: all layers refer to the outputs of the frame before."""

    def forward(self, aligned: Tensor, frame: Tensor, last: Tensor) -> tuple[Tensor, ...]:
        """Decodes queries (Q, C), given the outputs (Q, C) of the frame before, which are the state."""
        reference = self.tracker.refer_to(last[None])
        outputs = self.tracker.decode(self.tracker.start_of(aligned[None], last[None]), frame[None], reference)[-1]
        return self.heads(outputs, reference)


class RefinerGraph(nn.Module):
    """Tracks of a clip, valid in all frames -> refined tracks; see ``REFINED``.

    Args:
        refiner: The refiner.
    """

    def __init__(self, refiner: nn.Module) -> None:
        super().__init__()
        self.refiner: Any = refiner

    def forward(self, embeds: Tensor, context: Tensor) -> tuple[Tensor, ...]:
        """Embeddings (T, Q, C), class logits (Q, K + 1) of all frames, and mask embeddings (T, Q, M)."""
        refiner, x = self.refiner, embeds
        for layer in refiner.layers:
            x = self.along_time(layer, x.transpose(0, 1)).transpose(0, 1)
            x = layer.norms[2](x + layer.object_attn(x, x, x))
            if layer.cross_attn is not None:
                x = layer.norms[3](x + layer.cross_attn(x, context, context))
            x = layer.norms[4](layer.ffn(x))
        x = refiner.decoder_norm(x)
        weight = refiner.activation_proj(x).softmax(0)  # (T, Q, 1)
        return x, refiner.cls_embed((x * weight).sum(0)), refiner.mask_embed(x)

    @staticmethod
    def along_time(layer: Any, tracks: Tensor) -> Tensor:
        """Temporal attention and convolution of tracks (Q, T, C) without padding frames; see :class:`TemporalLayer`."""
        if layer.time_attn is not None:
            tracks = layer.norms[0](tracks + layer.time_attn(tracks, tracks, tracks))
        if layer.conv is not None:
            first, activate, second = layer.conv
            moved = second(activate(first(tracks.transpose(1, 2)))).transpose(1, 2)
            tracks = layer.norms[1](tracks + moved)
        return tracks


def example_inputs(names: Sequence[str], sizes: dict[str, tuple[int, ...]]) -> tuple[Tensor, ...]:
    """Random inputs of a graph, by their names."""
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(*sizes[name], generator=generator) for name in names)
