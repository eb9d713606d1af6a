"""Referring tracker of DVIS (arXiv:2306.03413, section 3.3) and DVIS++ (arXiv:2312.13305)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdvis.models.functional.contrastive import mean_contrastive_loss, neighbour_contrastive_loss
from mmdvis.models.functional.layer_predictions import LayerPredictions, fold_projection
from mmdvis.models.functional.matching import last_present, track_orders
from mmdvis.models.functional.query_noise import QueryNoise, noisy_orders
from mmdvis.models.layers.heads import mask_mlp, projection_mlp
from mmdvis.models.layers.linear import Linear
from mmdvis.models.layers.referring_layer import referring_layers
from mmdvis.registry import MODELS
from mmdvis.structures import ClipTargets, FrameQueries, StepContext, TrackQueries

ALLOWED = dict(
    start=('matched', 'unmatched', 'output', 'zero'), refer=('output', 'mlp'), context=('embeds', 'first_frame')
)


@dataclass(frozen=True, eq=False)
class ReferringState:
    """State of the tracker between clips.

    Attributes:
        match_embeds: Embeddings (B, Q, D) of the segmenter for the last frame, in track order.
        outputs: Outputs (B, Q, C) of the last layer for the last frame.
    """

    match_embeds: Tensor
    outputs: Tensor


@dataclass(frozen=True, eq=False)
class DecodedClip:
    """Decoder outputs of a clip.

    Attributes:
        outputs: Outputs (L, B, T, Q, C) of every layer, before the final norm.
        references: Reference queries (B, T, Q, C) of each frame.
    """

    outputs: Tensor
    references: Tensor


@MODELS.register_module()
class DVISTracker(BaseModule):
    """Referring tracker: the attention query of each track is its output in the previous frame.

    The defaults are those of DVIS. DVIS++ uses ``refer='mlp'``, ``project_features=True`` and ``normed_outputs=False``
    after a segmenter with ``normed_embeds=False``.

    Args:
        num_classes: Number of classes K, things first.
        channels: Number of channels C of the queries.
        mask_channels: Number of channels M of the mask features.
        decoder: Arguments of :func:`referring_layers`.
        start: Initial queries of each frame (table 6 of the paper): its queries ``'matched'`` to the tracks, its
            ``'unmatched'`` queries, the ``'output'`` of the tracks in the previous frame, or ``'zero'``. The first
            frame of a video always starts from its own queries.
        refer: Reference of the layers: the ``'output'`` of the previous frame, or an ``'mlp'`` of it, which is then
            also an input of the class head.
        project_features: Whether to apply a linear projection to the mask features. It is folded into the mask
            embeddings and ``mask_bias``, so later stages still receive the features of the segmenter.
        normed_outputs: Whether to return the outputs after the final norm (DVIS) or before it (DVIS++).
        context: Frame queries for the refiner: ``'embeds'`` are the queries of the segmenter; ``'first_frame'`` decodes
            every frame as the first frame of a video (DVIS; as expensive as tracking).
        legacy_inverse_match: Whether to gather the matched queries with the inverse permutation, as the released code
            of DVIS does. All released weights of DVIS require it; those of DVIS++ and MinVIS do not.
        loss: Config of the set loss; None for inference only. It may contain ``contrast``, the weight of the
            contrastive loss of DVIS++ between the references.
        noise: Arguments of :class:`QueryNoise` for training; None disables noise.
    """

    reads_mask_features = False

    def __init__(
        self,
        num_classes: int,
        channels: int = 256,
        mask_channels: int = 256,
        decoder: dict | None = None,
        start: str = 'matched',
        refer: str = 'output',
        project_features: bool = False,
        normed_outputs: bool = True,
        context: str = 'embeds',
        legacy_inverse_match: bool = False,
        loss: dict | None = None,
        noise: dict | None = None,
    ) -> None:
        super().__init__()
        for name, value in dict(start=start, refer=refer, context=context).items():
            if value not in ALLOWED[name]:
                raise ValueError(f'{name} must be {" or ".join(map(repr, ALLOWED[name]))}, got {value!r}')
        if noise is not None and start != 'matched':
            raise ValueError(f"noise is applied to matched queries, so start must be 'matched', got {start!r}")
        self.noise = None if noise is None else QueryNoise(**noise)
        self.start, self.context, self.normed_outputs = start, context, normed_outputs
        self.legacy_inverse_match = legacy_inverse_match
        self.cross_attention = (decoder or {}).get('cross_attention', 'referring')
        self.layers = referring_layers(channels, **(decoder or {}))
        self.decoder_norm = nn.LayerNorm(channels)
        self.cls_embed = Linear(2 * channels if refer == 'mlp' else channels, num_classes + 1)
        self.mask_embed = mask_mlp(channels, mask_channels)
        self.ref_proj = projection_mlp(channels) if refer == 'mlp' else None
        self.mask_feature_proj = nn.Conv2d(mask_channels, mask_channels, 1) if project_features else None
        options = dict(loss or {})
        self.contrast = options.pop('contrast', 0.0)
        self.criterion = MODELS.build(dict(options, num_classes=num_classes)) if loss else None

    def forward(
        self, queries: FrameQueries, state: ReferringState | None = None
    ) -> tuple[TrackQueries, ReferringState]:
        """Tracks a clip.

        Args:
            queries: Queries of the clip.
            state: State after the previous clip; None if the videos start with this clip.

        Returns:
            Tracks of the clip and the state after it.
        """
        orders = self.orders(queries, state)
        clip = self.decode_clip(queries, queries.embeds.take_along_dim(orders[..., None], 2), state)
        matched = queries.match_embeds.take_along_dim(orders[..., None], 2)
        after = ReferringState(
            last_present(matched, queries.present, state and state.match_embeds),
            last_present(clip.outputs[-1], queries.present, state and state.outputs),
        )
        last = DecodedClip(clip.outputs[-1:], clip.references)
        heads, outputs = self.predict(last, queries.mask_features), clip.outputs[-1]
        valid = queries.present[..., None].expand(outputs.shape[:3])
        bias = outputs.new_zeros(valid.shape) if heads.mask_bias is None else heads.mask_bias[0]
        return TrackQueries(
            ids=torch.arange(outputs.shape[2], device=outputs.device),
            valid=valid,
            embeds=self.decoder_norm(outputs) if self.normed_outputs else outputs,
            class_logits=heads.class_logits[0],
            mask_embeds=heads.mask_embeds[0],
            mask_bias=bias,
            mask_features=queries.mask_features,
            context=self.context_of(queries),
        ), after

    def loss(self, queries: FrameQueries, targets: Sequence[ClipTargets], context: StepContext) -> dict[str, Tensor]:
        """Losses of all layers; the guide is the predictions of the segmenter in track order."""
        orders, starts = self.training_starts(queries, context)
        clip = self.decode_clip(queries, starts, None)
        layers = self.predict(clip, queries.mask_features)
        rows = queries.select_rows(orders)
        guide = LayerPredictions(rows.class_logits[None], rows.mask_embeds[None], rows.mask_features)
        pairs = self.criterion.pairs(layers, targets, context, guide)
        losses = self.criterion(layers, targets, context, pairs=pairs)
        if self.contrast:
            slots = [slots[-1] for slots, _ in pairs]
            losses['loss_contrast'] = self.contrast * mean_contrastive_loss(
                neighbour_contrastive_loss, clip.references, slots
            )
        return losses

    def training_starts(self, queries: FrameQueries, context: StepContext) -> tuple[Tensor, Tensor]:
        """Query orders (B, T, Q) and initial queries (B, T, Q, C) of all frames, with noise in training."""
        if self.noise is None or not self.training:
            orders = self.orders(queries, None)
            return orders, queries.embeds.take_along_dim(orders[..., None], 2)
        draw = self.noise.draw(*queries.embeds.shape, context.generator('noise'))
        options = (self.noise.base, self.legacy_inverse_match, self.noise.chain)
        noisy = noisy_orders(queries.match_embeds, draw, *options)
        return noisy.kept, noisy.mix(queries.embeds)

    def orders(self, queries: FrameQueries, state: ReferringState | None) -> Tensor:
        """Index (B, T, Q) of the query of each track in every frame; the identity if ``start='unmatched'``."""
        if self.start == 'unmatched':
            batch, frames, slots = queries.match_embeds.shape[:3]
            return torch.arange(slots, device=queries.match_embeds.device).expand(batch, frames, -1)
        return track_orders(queries.match_embeds, state and state.match_embeds, self.legacy_inverse_match)

    def decode_clip(self, queries: FrameQueries, aligned: Tensor, state: ReferringState | None) -> DecodedClip:
        """Decodes the frames sequentially, each with the previous one as reference.

        Args:
            queries: Queries of the clip.
            aligned: Initial queries (B, T, Q, C) in track order.
            state: State after the previous clip, or None.
        """
        last, outputs, references = state and state.outputs, [], []
        for own, frame, present in zip(aligned.unbind(1), queries.embeds.unbind(1), queries.present.unbind(1)):
            reference = None if last is None else self.refer_to(last)
            references.append(self.refer_to(own) if reference is None else reference)
            outputs.append(self.decode(self.start_of(own, last), frame, reference))
            is_here = present[:, None, None]
            last = outputs[-1][-1] if last is None else torch.where(is_here, outputs[-1][-1], last)
        return DecodedClip(torch.stack([torch.stack(layers) for layers in outputs], 2), torch.stack(references, 1))

    def start_of(self, own: Tensor, last: Tensor | None) -> Tensor:
        """Initial queries of a frame, given its own queries and the outputs of the previous frame, both (B, Q, C)."""
        if last is None or self.start in ('matched', 'unmatched'):
            return own
        return last if self.start == 'output' else torch.zeros_like(own)

    def refer_to(self, x: Tensor) -> Tensor:
        """Reference queries computed from outputs (..., C)."""
        return x if self.ref_proj is None else self.ref_proj(x)

    def decode(self, start: Tensor, frame: Tensor, reference: Tensor | None) -> list[Tensor]:
        """Decodes one frame.

        Args:
            start: Initial queries (B, Q, C).
            frame: Queries (B, Q, C) of the segmenter for this frame.
            reference: Reference queries (B, Q, C) of all layers; if None, each layer refers to its own input.

        Returns:
            Outputs (B, Q, C) of each layer.
        """
        outputs = []
        for layer in self.layers:
            start = layer(start, self.refer_to(start) if reference is None else reference, frame)
            outputs.append(start)
        return outputs

    def predict(self, clip: DecodedClip, mask_features: Tensor) -> LayerPredictions:
        """Applies the prediction heads to the decoder outputs."""
        x = class_input = self.decoder_norm(clip.outputs)
        if self.ref_proj is not None:
            class_input = torch.cat([clip.references.expand_as(x), x], -1)
        embeds, bias = self.mask_embed(x), None
        if self.mask_feature_proj is not None:
            embeds, bias = fold_projection(
                embeds, self.mask_feature_proj.weight[..., 0, 0], self.mask_feature_proj.bias
            )
        return LayerPredictions(self.cls_embed(class_input), embeds, mask_features, bias)

    def context_of(self, queries: FrameQueries) -> Tensor:
        """Frame queries (B, T, Q, C) that a refiner may attend to."""
        if self.context == 'embeds':
            return queries.embeds
        frames = queries.embeds.flatten(0, 1)
        return self.decoder_norm(self.decode(frames, frames, None)[-1]).unflatten(0, queries.embeds.shape[:2])
