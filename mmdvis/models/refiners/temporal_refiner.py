"""Temporal refiner of DVIS (arXiv:2306.03413, section 3.4)."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdvis.models.functional.class_scores import mean_logits
from mmdvis.models.functional.contrastive import mean_contrastive_loss, track_contrastive_loss
from mmdvis.models.functional.layer_predictions import LayerPredictions
from mmdvis.models.layers.heads import mask_mlp
from mmdvis.models.layers.linear import Linear
from mmdvis.models.layers.temporal_layer import temporal_layers, time_masks
from mmdvis.registry import MODELS
from mmdvis.structures import ClipTargets, StepContext, TrackQueries, write_slice

FRAMES = 64  # frames per chunk of the prediction heads


@MODELS.register_module()
class TemporalRefiner(BaseModule):
    """Refines tracks with all frames of a clip at once and predicts one class per track.

    The inputs depend on the options ``normed_outputs`` and ``context`` of :class:`DVISTracker`. DVIS uses normalised
    outputs and frames decoded by the tracker; DVIS++ (arXiv:2312.13305) uses outputs before the norm and the queries of
    the segmenter.

    Args:
        num_classes: Number of classes K, things first.
        channels: Number of channels C of the tracks.
        mask_channels: Number of channels M of the mask features.
        decoder: Arguments of :func:`temporal_layers`.
        loss: Config of the set loss; None for inference only. It may contain ``contrast``, the weight of the
            contrastive loss of DVIS++ between tracks (without its memory bank).
    """

    reads_mask_features = False

    def __init__(
        self,
        num_classes: int,
        channels: int = 256,
        mask_channels: int = 256,
        decoder: dict | None = None,
        loss: dict | None = None,
    ) -> None:
        super().__init__()
        self.layers = temporal_layers(channels, **(decoder or {}))
        self.decoder_norm = nn.LayerNorm(channels)
        self.activation_proj = Linear(channels, 1)
        self.cls_embed = Linear(channels, num_classes + 1)
        self.mask_embed = mask_mlp(channels, mask_channels)
        options = dict(loss or {})
        self.contrast = options.pop('contrast', 0.0)
        self.criterion = MODELS.build(dict(options, num_classes=num_classes)) if loss else None

    def forward(self, tracks: TrackQueries) -> TrackQueries:
        """Refines the tracks; the class logits are the same in every frame."""
        last = deque(self.decode(tracks), maxlen=1).pop()  # outputs of earlier layers are freed
        x = self.decoder_norm(last)
        logits = self.classify(x, tracks.valid)[:, None].expand(-1, x.shape[1], -1, -1)
        embeds: Tensor | None = None
        for start in range(0, x.shape[1], FRAMES):
            embeds = write_slice(embeds, self.mask_embed(x[:, start : start + FRAMES]), start, x.shape[1], axis=1)
        return replace(
            tracks, embeds=x, class_logits=logits, mask_embeds=embeds, mask_bias=torch.zeros_like(tracks.mask_bias)
        )

    def loss(self, tracks: TrackQueries, targets: Sequence[ClipTargets], context: StepContext) -> dict[str, Tensor]:
        """Computes the losses of all layers. Matching uses the predictions of the tracker, with mean class logits."""
        x = self.decoder_norm(torch.stack(list(self.decode(tracks))))
        logits = torch.stack([self.classify(layer, tracks.valid) for layer in x])
        layers = LayerPredictions(logits[:, :, None], self.mask_embed(x), tracks.mask_features)
        mean = torch.stack([mean_logits(*video) for video in zip(tracks.class_logits, tracks.valid)])  # (B, Q, K + 1)
        guide = LayerPredictions(
            mean[None, :, None], tracks.mask_embeds[None], tracks.mask_features, tracks.mask_bias[None]
        )
        pairs = self.criterion.pairs(layers, targets, context, guide)
        losses = self.criterion(layers, targets, context, pairs=pairs)
        if self.contrast:
            slots = [slots[-1] for slots, _ in pairs]
            losses['loss_contrast'] = self.contrast * mean_contrastive_loss(track_contrastive_loss, x[-1], slots)
        return losses

    def decode(self, tracks: TrackQueries) -> Iterator[Tensor]:
        """Yields the output (B, T, Q, C) of each layer before the final norm."""
        allowed, hold = time_masks(tracks.valid)
        x = tracks.embeds
        for layer in self.layers:
            x = layer(x, tracks.context, allowed, hold)
            yield x

    def classify(self, x: Tensor, valid: Tensor) -> Tensor:
        """Class logits of each track, with the frames weighted by their activations.

        Args:
            x: Normalised queries (B, T, Q, C).
            valid: Bool (B, T, Q), True for the frames in which a track is valid.

        Returns:
            Class logits (B, Q, K + 1).
        """
        activation = self.activation_proj(x)[..., 0]
        lowest = torch.finfo(activation.dtype).min
        weight = activation.masked_fill(~valid, lowest).softmax(1)  # (B, T, Q)
        return self.cls_embed(torch.einsum('btqc,btq->bqc', x, weight))
