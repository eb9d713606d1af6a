"""The referring tracker of DVIS (arXiv:2306.03413, section 3.3) and of DVIS++ (arXiv:2312.13305)."""

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
from mmdvis.models.layers.referring_layer import referring_layers
from mmdvis.registry import MODELS
from mmdvis.structures import ClipTargets, FrameQueries, StepContext, TrackQueries

ALLOWED = dict(
    start=('matched', 'unmatched', 'output', 'zero'), refer=('output', 'mlp'), context=('embeds', 'first_frame')
)


@dataclass(frozen=True, eq=False)
class ReferringState:
    """All that the tracker remembers of its videos.

    Attributes:
        match_embeds (B, Q, D): the segmenter's embeddings of the last frame, in track order.
        outputs (B, Q, C): the last layer's outputs for the last frame.
    """

    match_embeds: Tensor
    outputs: Tensor


@dataclass(frozen=True, eq=False)
class DecodedClip:
    """The decoder's word on a clip.

    Attributes:
        outputs (L, B, T, Q, C): of every layer, before the norm.
        references (B, T, Q, C): what each frame's tracks referred to.
    """

    outputs: Tensor
    references: Tensor


@MODELS.register_module()
class DVISTracker(BaseModule):
    """Each track refers to its own output in the frame before.

    The defaults are DVIS. DVIS++ is ``refer='mlp'``, ``project_features=True`` and ``normed_outputs=False`` after a
    segmenter with ``normed_embeds=False``.

    Args:
        num_classes: K, things first.
        channels: width C of the queries; mask_channels: width M of the mask features.
        decoder: arguments of :func:`referring_layers`.
        start: what a frame's decoding starts from: its queries ``'matched'`` to the tracks, its queries ``'unmatched'``, the
            tracks' ``'output'`` for the frame before, or ``'zero'`` (table 6 of the paper). The first frame of a video
            starts from its own queries always.
        refer: what the layers refer to: the ``'output'`` for the frame before, or an ``'mlp'`` of it, which then helps to
            tell the classes, too.
        project_features: put the mask features through a linear map of the tracker's own. The map is folded into the mask
            embeddings and ``mask_bias``, so later stages still get the segmenter's features.
        normed_outputs: hand the outputs on after the final norm (DVIS), or as they are (DVIS++).
        context: what the refiner gets to attend to: ``'embeds'``, the segmenter's queries as they are, or
            ``'first_frame'``, every frame decoded as if a video began with it (DVIS; costs as much as tracking).
        legacy_inverse_match: gather the matched queries with the inverse permutation, as the released code of DVIS does;
            all released weights of DVIS (not of DVIS++, not of MinVIS) were trained with that code and need it.
        loss: config of the set loss, to which ``contrast`` may be added: the weight of DVIS++'s contrastive loss of what
            tracks refer to. None for inference only.
        noise: arguments of :class:`QueryNoise` in training; None: none.
    """

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
            raise ValueError(f"noise spoils the matched queries, so start must be 'matched', got {start!r}")
        self.noise = None if noise is None else QueryNoise(**noise)
        self.start, self.context, self.normed_outputs = start, context, normed_outputs
        self.legacy_inverse_match = legacy_inverse_match
        self.cross_attention = (decoder or {}).get('cross_attention', 'referring')
        self.layers = referring_layers(channels, **(decoder or {}))
        self.decoder_norm = nn.LayerNorm(channels)
        self.cls_embed = nn.Linear(2 * channels if refer == 'mlp' else channels, num_classes + 1)
        self.mask_embed = mask_mlp(channels, mask_channels)
        self.ref_proj = projection_mlp(channels) if refer == 'mlp' else None
        self.mask_feature_proj = nn.Conv2d(mask_channels, mask_channels, 1) if project_features else None
        options = dict(loss or {})
        self.contrast = options.pop('contrast', 0.0)
        self.criterion = MODELS.build(dict(options, num_classes=num_classes)) if loss else None

    def forward(
        self, queries: FrameQueries, state: ReferringState | None = None
    ) -> tuple[TrackQueries, ReferringState]:
        """Tracks a clip from where ``state`` left the videos; None begins them."""
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
        """Losses of all layers; the guide is the segmenter's own word, with its rows put into track order."""
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
        """The order that counts (B, T, Q), and what each frame's decoding starts from (B, T, Q, C), noise included."""
        if self.noise is None or not self.training:
            orders = self.orders(queries, None)
            return orders, queries.embeds.take_along_dim(orders[..., None], 2)
        draw = self.noise.draw(*queries.embeds.shape, context.generator('noise'))
        found = noisy_orders(queries.match_embeds, draw, self.noise.base, self.legacy_inverse_match)
        return found.kept, found.mix(queries.embeds)

    def orders(self, queries: FrameQueries, state: ReferringState | None) -> Tensor:
        """(B, T, Q): which query of each frame takes each track's place; if unmatched, that of its own number."""
        if self.start == 'unmatched':
            batch, frames, slots = queries.match_embeds.shape[:3]
            return torch.arange(slots, device=queries.match_embeds.device).expand(batch, frames, -1)
        return track_orders(queries.match_embeds, state and state.match_embeds, self.legacy_inverse_match)

    def decode_clip(self, queries: FrameQueries, aligned: Tensor, state: ReferringState | None) -> DecodedClip:
        """All layers on all frames in turn, each referring to the one before; ``aligned`` (B, T, Q, C) is in track order."""
        last, outputs, references = state and state.outputs, [], []
        for own, frame, present in zip(aligned.unbind(1), queries.embeds.unbind(1), queries.present.unbind(1)):
            reference = None if last is None else self.refer_to(last)
            references.append(self.refer_to(own) if reference is None else reference)
            outputs.append(self.decode(self.start_of(own, last), frame, reference))
            is_here = present[:, None, None]
            last = outputs[-1][-1] if last is None else torch.where(is_here, outputs[-1][-1], last)
        return DecodedClip(torch.stack([torch.stack(layers) for layers in outputs], 2), torch.stack(references, 1))

    def start_of(self, own: Tensor, last: Tensor | None) -> Tensor:
        """What a frame's decoding starts from, given its queries and the outputs before it, both (B, Q, C)."""
        if last is None or self.start in ('matched', 'unmatched'):
            return own
        return last if self.start == 'output' else torch.zeros_like(own)

    def refer_to(self, x: Tensor) -> Tensor:
        """The reference made of outputs (..., C)."""
        return x if self.ref_proj is None else self.ref_proj(x)

    def decode(self, start: Tensor, frame: Tensor, reference: Tensor | None) -> list[Tensor]:
        """The outputs of all layers for one frame, each (B, Q, C).

        Args:
            start (B, Q, C): what the first layer starts from.
            frame (B, Q, C): the frame's queries as the segmenter gave them.
            reference (B, Q, C): what every layer refers to; None: its own input.
        """
        outputs = []
        for layer in self.layers:
            start = layer(start, self.refer_to(start) if reference is None else reference, frame)
            outputs.append(start)
        return outputs

    def predict(self, clip: DecodedClip, mask_features: Tensor) -> LayerPredictions:
        """The heads on the outputs of some layers."""
        x = known = self.decoder_norm(clip.outputs)
        if self.ref_proj is not None:
            known = torch.cat([clip.references.expand_as(x), x], -1)
        embeds, bias = self.mask_embed(x), None
        if self.mask_feature_proj is not None:
            embeds, bias = fold_projection(
                embeds, self.mask_feature_proj.weight[..., 0, 0], self.mask_feature_proj.bias
            )
        return LayerPredictions(self.cls_embed(known), embeds, mask_features, bias)

    def context_of(self, queries: FrameQueries) -> Tensor:
        """(B, T, Q, C): what a refiner may attend to."""
        if self.context == 'embeds':
            return queries.embeds
        frames = queries.embeds.flatten(0, 1)
        return self.decoder_norm(self.decode(frames, frames, None)[-1]).unflatten(0, queries.embeds.shape[:2])
