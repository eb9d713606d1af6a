"""The referring tracker of DVIS (arXiv:2306.03413, section 3.3)."""
from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence, Tuple

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdvis.models.functional.matching import last_present, track_orders
from mmdvis.models.functional.predict import LayerPredictions
from mmdvis.models.layers.heads import mask_mlp
from mmdvis.models.layers.referring_layer import ReferringLayer
from mmdvis.registry import MODELS
from mmdvis.structures import ClipTargets, FrameQueries, StepContext, TrackQueries


@dataclass(frozen=True, eq=False)
class ReferringState:
    """All that the tracker remembers of its videos.

    Attributes:
        match_embeds (B, Q, D): the segmenter's embeddings of the last frame, in track order.
        outputs (B, Q, C): the last layer's outputs for the last frame.
    """
    match_embeds: Tensor
    outputs: Tensor


@MODELS.register_module()
class DVISTracker(BaseModule):
    """Each track refers to its own output in the frame before.

    Args:
        num_classes: K, things first.
        channels: width C of the queries; mask_channels: width M of the mask features.
        num_layers, num_heads, ffn_channels: of the referring layers.
        context: what the refiner gets to attend to: ``'embeds'``, the segmenter's queries as they are, or
            ``'first_frame'``, every frame decoded as if a video began with it (DVIS v1; costs as much as tracking).
        legacy_inverse_match: gather the matched queries with the inverse permutation, as the released code of DVIS v1
            does; weights that were trained with that code need it.
        loss: config of the set loss; None for inference only.
    """

    def __init__(self, num_classes: int, channels: int = 256, mask_channels: int = 256, num_layers: int = 6,
                 num_heads: int = 8, ffn_channels: int = 2048, context: str = 'embeds',
                 legacy_inverse_match: bool = False, loss: Optional[dict] = None) -> None:
        super().__init__()
        if context not in ('embeds', 'first_frame'):
            raise ValueError(f"context must be 'embeds' or 'first_frame', got {context!r}")
        self.context, self.legacy_inverse_match = context, legacy_inverse_match
        self.layers = nn.ModuleList(ReferringLayer(channels, num_heads, ffn_channels) for _ in range(num_layers))
        self.decoder_norm = nn.LayerNorm(channels)
        self.cls_embed = nn.Linear(channels, num_classes + 1)
        self.mask_embed = mask_mlp(channels, mask_channels)
        self.criterion = MODELS.build(dict(loss, num_classes=num_classes)) if loss else None

    def forward(self, queries: FrameQueries, state: Optional[ReferringState] = None
                ) -> Tuple[TrackQueries, ReferringState]:
        """Tracks a clip from where ``state`` left the videos; None begins them."""
        orders = self.orders(queries, state)
        outputs = torch.stack([layers[-1] for layers in self.decode_clip(queries, orders, state)], 1)  # (B, T, Q, C)
        matched = queries.match_embeds.take_along_dim(orders[..., None], 2)
        after = ReferringState(last_present(matched, queries.present, state and state.match_embeds),
                               last_present(outputs, queries.present, state and state.outputs))
        return self.predict(outputs, queries), after

    def loss(self, queries: FrameQueries, targets: Sequence[ClipTargets], context: StepContext) -> Dict[str, Tensor]:
        """Losses of all layers; the guide is the segmenter's own word, with its rows put into track order."""
        orders = self.orders(queries, None)
        frames = self.decode_clip(queries, orders, None)
        outputs = torch.stack([torch.stack(layers) for layers in frames], 2)  # (L, B, T, Q, C)
        rows = queries.select_rows(orders)
        guide = LayerPredictions(rows.class_logits[None], rows.mask_embeds[None], rows.mask_features)
        x = self.decoder_norm(outputs)
        layers = LayerPredictions(self.cls_embed(x), self.mask_embed(x), queries.mask_features)
        return self.criterion(layers, targets, context, guide)

    def orders(self, queries: FrameQueries, state: Optional[ReferringState]) -> Tensor:
        """(B, T, Q): which query of each frame continues each track."""
        return track_orders(queries.match_embeds, state and state.match_embeds, self.legacy_inverse_match)

    def decode_clip(self, queries: FrameQueries, orders: Tensor, state: Optional[ReferringState]) -> List[List[Tensor]]:
        """The outputs (B, Q, C) of every layer in every frame: T lists of L."""
        aligned = queries.embeds.take_along_dim(orders[..., None], 2)
        last, frames = state and state.outputs, []
        for start, frame, present in zip(aligned.unbind(1), queries.embeds.unbind(1), queries.present.unbind(1)):
            frames.append(self.decode(start, frame, last))
            is_here = present[:, None, None]
            last = frames[-1][-1] if last is None else torch.where(is_here, frames[-1][-1], last)
        return frames

    def decode(self, start: Tensor, frame: Tensor, reference: Optional[Tensor]) -> List[Tensor]:
        """The outputs of all layers for one frame, each (B, Q, C).

        Args:
            start (B, Q, C): the frame's queries in track order.
            frame (B, Q, C): the frame's queries as the segmenter gave them.
            reference (B, Q, C): the outputs for the frame before; None: every layer refers to its own input.
        """
        outputs = []
        for layer in self.layers:
            start = layer(start, start if reference is None else reference, frame)
            outputs.append(start)
        return outputs

    def predict(self, outputs: Tensor, queries: FrameQueries) -> TrackQueries:
        """The heads on the last layer's outputs (B, T, Q, C)."""
        x = self.decoder_norm(outputs)
        return TrackQueries(
            ids=torch.arange(x.shape[2], device=x.device), valid=queries.present[..., None].expand(x.shape[:3]), embeds=x,
            class_logits=self.cls_embed(x), mask_embeds=self.mask_embed(x), mask_bias=torch.zeros_like(x[..., 0]),
            mask_features=queries.mask_features, context=self.context_of(queries))

    def context_of(self, queries: FrameQueries) -> Tensor:
        """(B, T, Q, C): what a refiner may attend to."""
        if self.context == 'embeds':
            return queries.embeds
        frames = queries.embeds.flatten(0, 1)
        return self.decoder_norm(self.decode(frames, frames, None)[-1]).unflatten(0, queries.embeds.shape[:2])
