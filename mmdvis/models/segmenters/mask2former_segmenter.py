"""Mask2Former (arXiv:2112.01527) applied to each frame independently, as in MinVIS (arXiv:2208.02245)."""

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdvis.models.functional.layer_predictions import LayerPredictions
from mmdvis.models.functional.memory_contrast import mean_memory_contrast
from mmdvis.models.layers.heads import mask_mlp, projection_mlp
from mmdvis.models.layers.linear import Linear
from mmdvis.models.layers.pixel_decoder import PixelDecoder
from mmdvis.models.layers.transformer_decoder import MaskedDecoder
from mmdvis.registry import MODELS
from mmdvis.structures import ClipTargets, FrameQueries, StepContext


@MODELS.register_module()
class Mask2FormerSegmenter(BaseModule):
    """Mask2Former that segments each frame independently.

    Args:
        backbone: Config of a backbone with four feature maps at strides 4, 8, 16 and 32.
        in_channels: Numbers of channels of the feature maps that the pixel decoder receives.
        num_classes: Number of classes K, things first.
        num_queries: Number of queries Q.
        channels: Number of channels C of queries and memories.
        mask_channels: Number of channels M of the mask features.
        neck: Config of a neck between backbone and pixel decoder, e.g. ``mmdet.FPN``; None uses no neck.
        pixel_decoder: Config of the pixel decoder; ``type`` defaults to :class:`PixelDecoder`. Other types must return
            the mask features and three memories from coarse to fine, as ``mmdet.MSDeformAttnPixelDecoder`` does.
        decoder: Arguments of :class:`MaskedDecoder`.
        reid: Whether to append a re-identification embedding of C channels to the queries (DVIS++), so that trackers
            and refiners have 2 C channels; ``dict(contrast=2.0, cosine=3.0)`` also trains it with these weights of the
            losses of CTVIS.
        normed_embeds: Whether later stages receive the queries after the norm of the decoder (DVIS) or before it
            (DVIS++). Trackers always match the normalised queries.
        loss: Config of the set loss, e.g. ``QuerySetLoss``; None for inference only.
    """

    def __init__(
        self,
        backbone: dict,
        in_channels: Sequence[int],
        num_classes: int,
        num_queries: int = 100,
        channels: int = 256,
        mask_channels: int = 256,
        neck: dict | None = None,
        pixel_decoder: dict | None = None,
        decoder: dict | None = None,
        reid: bool | dict[str, float] = False,
        normed_embeds: bool = True,
        loss: dict | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(reid, bool) and set(reid) != {'contrast', 'cosine'}:
            raise ValueError(f'reid must be True, False or dict(contrast=..., cosine=...), got {reid!r}')
        self.reid_weights = None if isinstance(reid, bool) else dict(reid)
        self.normed_embeds, self.mask_channels = normed_embeds, mask_channels
        self.backbone = MODELS.build(backbone)
        self.neck = MODELS.build(neck) if neck else None
        self.pixel_decoder = MODELS.build(with_sizes(pixel_decoder or {}, in_channels, channels, mask_channels))
        self.transformer_decoder = MaskedDecoder(channels, **(decoder or {}))
        self.query_feat = nn.Embedding(num_queries, channels)
        self.query_embed = nn.Embedding(num_queries, channels)
        self.level_embed = nn.Embedding(3, channels)
        self.cls_embed = Linear(channels, num_classes + 1)
        self.mask_embed = mask_mlp(channels, mask_channels)
        self.reid_embed = projection_mlp(channels) if reid else None
        self.criterion = MODELS.build(dict(loss, num_classes=num_classes)) if loss else None

    def forward(self, frames: Tensor, present: Tensor | None = None) -> FrameQueries:
        """Computes the queries of each frame.

        Args:
            frames: Normalised frames (B, T, 3, H, W); H and W are multiples of 32.
            present: Bool mask (B, T), False in frames that pad a shorter video; None if there are no such frames.
        """
        states, features = self.decode(frames)
        layer = self.predict(states[-1:], features)
        normed = self.transformer_decoder.post_norm(states[-1])
        match_embeds, embeds = (x.unflatten(0, frames.shape[:2]) for x in self.embeds(normed, states[-1]))
        if present is None:
            present = torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device)
        return FrameQueries(
            embeds, match_embeds, layer.class_logits[0], layer.mask_embeds[0], layer.mask_features, present
        )

    def features(self, frames: Tensor) -> Sequence[Tensor]:
        """Feature maps (B * T, ...) of frames (B, T, 3, H, W), after the neck if there is one."""
        maps = self.backbone(frames.flatten(0, 1))
        return maps if self.neck is None else self.neck(maps)

    def mask_features(self, frames: Tensor) -> Tensor:
        """Mask features (B, T, M, h, w) of frames (B, T, 3, H, W); does not compute the queries."""
        features, _ = self.pixel_decoder(self.features(frames))
        return features.unflatten(0, frames.shape[:2])

    def embeds(self, normed: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings for matching and for later stages.

        Args:
            normed: Queries after the norm of the decoder, (..., Q, C).
            raw: Queries before the norm, (..., Q, C).

        Returns:
            Embeddings that trackers match, and embeddings that later stages receive; (..., Q, 2 C) each with ``reid``,
            else (..., Q, C).
        """
        stage_embeds = normed if self.normed_embeds else raw
        if self.reid_embed is None:
            return normed, stage_embeds
        reid = self.reid_embed(normed)
        return torch.cat([normed, reid], -1), torch.cat([stage_embeds, reid], -1)

    def loss(self, frames: Tensor, targets: Sequence[ClipTargets], context: StepContext) -> dict[str, Tensor]:
        """Losses of all layers.

        Args:
            frames: Normalised frames (B, T, 3, H, W).
            targets: Ground truth of each clip.
            context: Progress and random seed of the training step.

        Raises:
            ValueError: If the segmenter has a re-identification embedding, but no weights of its losses.
        """
        if self.reid_embed is None:
            return self.criterion(self.predict(*self.decode(frames)), targets, context)
        if self.reid_weights is None:
            raise ValueError(
                'a segmenter with reid=True is trained with the losses of CTVIS; set reid=dict(contrast=2.0, '
                "cosine=3.0), or load trained weights and set trainable to 'tracker' or 'refiner'"
            )
        states, features = self.decode(frames)
        predictions = self.predict(states, features)
        pairs = self.criterion.pairs(predictions, targets, context)
        reid = self.reid_embed(self.transformer_decoder.post_norm(states[-1])).unflatten(0, frames.shape[:2])
        slots = frame_slots(targets, [tuple(side[-1] for side in pair) for pair in pairs], reid.device)
        found = mean_memory_contrast(reid, slots, context.generator('contrast'))
        losses = {f'loss_{name}': self.reid_weights[name] * value for name, value in zip(('contrast', 'cosine'), found)}
        return {**self.criterion(predictions, targets, context, pairs=pairs), **losses}

    def decode(self, frames: Tensor) -> tuple[list[Tensor], Tensor]:
        """Runs backbone, pixel decoder and transformer decoder.

        Returns:
            Queries (B * T, Q, C) before the norm: the initial queries and those after each layer. Mask features
            (B, T, M, h, w).
        """
        features, memories = self.pixel_decoder(self.features(frames))
        initial_queries = self.query_feat.weight.expand(len(features), -1, -1)
        states = self.transformer_decoder(
            initial_queries, self.query_embed.weight, memories, self.level_embed.weight, features, self.mask_embed
        )
        return states, features.unflatten(0, frames.shape[:2])

    def predict(self, states: Sequence[Tensor], features: Tensor) -> LayerPredictions:
        """Applies the prediction heads to the queries of several layers.

        Args:
            states: Queries (B * T, Q, C) of each layer, before the norm.
            features: Mask features (B, T, M, h, w).
        """
        x = self.transformer_decoder.post_norm(torch.stack(list(states))).unflatten(1, features.shape[:2])
        return LayerPredictions(self.cls_embed(x), self.mask_embed(x), features)


def frame_slots(
    targets: Sequence[ClipTargets], pairs: Sequence[tuple[np.ndarray, np.ndarray]], device: torch.device
) -> list[Tensor]:
    """Query (T, N) of each object of each clip in each frame, -1 where it is not visible or has none.

    Args:
        targets: Ground truth of each clip.
        pairs: Queries and objects of each frame of all clips; the objects are counted among the visible ones.
        device: Device of the result.
    """
    result, remaining = [], iter(pairs)
    for clip in targets:
        slots = torch.full(clip.visible.T.shape, -1)
        for t, visible in enumerate(clip.visible.T.cpu()):
            queries, objects = next(remaining)
            slots[t, visible.nonzero()[:, 0][torch.from_numpy(objects)]] = torch.from_numpy(queries)
        result.append(slots.to(device))
    return result


def with_sizes(config: dict, in_channels: Sequence[int], channels: int, mask_channels: int) -> dict:
    """Adds the type and the numbers of channels to the config of a pixel decoder, unless the config sets them.

    Args:
        config: Config of a pixel decoder; not changed.
        in_channels: Numbers of channels of the feature maps.
        channels: Number of channels C of queries and memories.
        mask_channels: Number of channels M of the mask features.
    """
    if config.get('type', PixelDecoder) in ('PixelDecoder', PixelDecoder):
        sizes = dict(type=PixelDecoder, in_channels=in_channels, channels=channels, mask_channels=mask_channels)
    else:
        sizes = dict(in_channels=list(in_channels), feat_channels=channels, out_channels=mask_channels)
    return {**sizes, **config}
