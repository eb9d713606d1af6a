"""EoMT (arXiv:2503.19108): queries pass through the last blocks of a plain vision transformer, without a decoder."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdvis.models.functional.layer_predictions import LayerPredictions
from mmdvis.models.layers.heads import mask_mlp
from mmdvis.models.layers.linear import Linear
from mmdvis.registry import MODELS
from mmdvis.structures import ClipTargets, FrameQueries, StepContext

STRIDE = 4  # of the mask features


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of maps (N, C, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalises the maps."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Upscale(nn.Module):
    """Doubles the size of maps: transposed convolution, GELU, depthwise convolution, norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.ConvTranspose2d(channels, channels, 2, 2)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.norm = ChannelNorm(channels, 1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, h, w) -> (N, C, 2 h, 2 w)."""
        return self.norm(self.conv2(F.gelu(self.conv1(x))))


@MODELS.register_module()
class EoMTSegmenter(BaseModule):
    """Segments each frame independently with a vision transformer whose last blocks also process the queries.

    In training, the queries of the last blocks attend only to the patches of their own masks, with a probability that
    falls to 0 block by block, so that a trained model needs no masks.

    Args:
        backbone: Config of a plain vision transformer, :class:`DINOv2` with ``frozen=False`` or :class:`DINOv3`.
        num_classes: Number of classes K, things first.
        num_queries: Number of queries Q.
        num_blocks: Number of last blocks that process the queries.
        masked: Whether the blocks are masked outside of training, too, for weights that were trained without annealing.
        anneal: ``dict(start=(first, last), length=...)``, shares of the training: the probability of a mask is 1 before
            the start of a block, whose start lies between that of the first and the last block, and falls to 0 within
            ``length``, or for the first block within ``first_block=(begin, end)``; None is that of DINOv2 in the paper.
        normed_embeds: Whether later stages receive the queries after the final norm or before it.
        loss: Config of the set loss, with ``matching='frame'``; None for inference only.

    Raises:
        ValueError: The numbers of blocks or patches do not fit.
    """

    def __init__(
        self,
        backbone: dict,
        num_classes: int,
        num_queries: int = 200,
        num_blocks: int = 4,
        masked: bool = False,
        anneal: dict | None = None,
        normed_embeds: bool = True,
        loss: dict | None = None,
    ) -> None:
        super().__init__()
        self.backbone = MODELS.build(backbone)
        channels, patch = self.backbone.channels, self.backbone.patch_size
        if not 1 <= num_blocks < len(self.backbone.blocks):
            raise ValueError(
                f'num_blocks must be at least 1 and below the {len(self.backbone.blocks)} blocks of the backbone, got '
                f'{num_blocks}'
            )
        if patch < 2 * STRIDE or patch & (patch - 1):
            raise ValueError(f'patches must be 8, 16, 32, ... pixels wide, got {patch}')
        self.num_blocks, self.masked, self.normed_embeds = num_blocks, masked, normed_embeds
        self.anneal = dict(start=(1 / 6, 2 / 3), length=1 / 6) if anneal is None else anneal
        self.mask_channels = channels
        self.query_feat = nn.Embedding(num_queries, channels)
        self.cls_embed = Linear(channels, num_classes + 1)
        self.mask_embed = mask_mlp(channels, channels, nn.GELU)
        self.upscale = nn.Sequential(*(Upscale(channels) for _ in range(int(math.log2(patch // STRIDE)))))
        self.criterion = MODELS.build(dict(loss, num_classes=num_classes)) if loss else None

    def forward(self, frames: Tensor, present: Tensor | None = None, compact: bool = False) -> FrameQueries:
        """Computes the queries of each frame.

        Args:
            frames: Normalised frames (B, T, 3, H, W); H and W are multiples of the patch size.
            present: Bool mask (B, T), False in frames that pad a shorter video; None if there are no such frames.
            compact: Whether the mask features are those before :meth:`expand`, with one row for each patch.
        """
        x, size = self.decode(frames, [1.0 if self.masked else 0.0] * self.num_blocks, None)[1:]
        return self.frame_queries(x.unflatten(0, frames.shape[:2]), size, present, compact)

    def frame_queries(
        self, tokens: Tensor, size: tuple[int, int], present: Tensor | None, compact: bool
    ) -> FrameQueries:
        """Queries of frames with their predictions.

        Args:
            tokens: Tokens (B, T, Q + N, C) after the last block, before the norm.
            size: (h, w) of the patch grid.
            present: See :meth:`forward`.
            compact: See :meth:`forward`.
        """
        shape, raw = tokens.shape[:2], tokens[:, :, : self.num_queries]
        normed, patches = self.normed(tokens.flatten(0, 1), size)
        features = patches if compact else self.expand(patches)
        normed = normed.unflatten(0, shape)
        if present is None:
            present = torch.ones(shape, dtype=torch.bool, device=raw.device)
        return FrameQueries(
            normed if self.normed_embeds else raw,
            normed,
            self.cls_embed(normed),
            self.mask_embed(normed),
            features.unflatten(0, shape),
            present,
        )

    @property
    def compact_stride(self) -> int:
        """Stride of compact mask features, in pixels."""
        return self.backbone.patch_size

    def expand(self, features: Tensor) -> Tensor:
        """Compact mask features (N, C, h, w) at the stride of the patches -> those at stride 4."""
        return self.upscale(features)

    @property
    def num_queries(self) -> int:
        """Number of queries Q."""
        return self.query_feat.num_embeddings

    def mask_features(self, frames: Tensor) -> Tensor:
        """Compact mask features (B, T, C, h, w) of frames; patches attend to queries, so all is computed."""
        return self(frames, compact=True).mask_features

    @property
    def first_block(self) -> int:
        """Index of the first block that processes the queries."""
        return len(self.backbone.blocks) - self.num_blocks

    def encode(
        self, frames: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, tuple[int, int], tuple[Tensor, Tensor] | None]:
        """Runs the blocks without queries.

        Args:
            frames: See :meth:`forward`.
            generator: See :meth:`decode`.

        Returns:
            Tokens (B * T, N, C), size (h, w) of the patch grid, and cosines and sines of the rotations or None.
        """
        x, size = self.backbone.embed(frames.flatten(0, 1))
        rotation = self.backbone.rotation(size, generator)
        return self.backbone.run(x, (0, self.first_block - 1), rotation), size, rotation

    def decode(
        self, frames: Tensor, masked: Sequence[float], generator: torch.Generator | None
    ) -> tuple[list[LayerPredictions], Tensor, tuple[int, int]]:
        """Runs the transformer.

        Args:
            frames: See :meth:`forward`.
            masked: Probability of a mask, for each of the last blocks.
            generator: Draws the scale of rotations and for which queries masks are used; on the CPU. None outside of
                training.

        Returns:
            Predictions before each of the last blocks, outside of training only before those with masks; tokens
            (B * T, Q + N, C) after the last block, before the norm; size (h, w) of the patch grid.
        """
        x, size, rotation = self.encode(frames, generator)
        x = torch.cat([self.query_feat.weight.to(x.dtype).expand(len(x), -1, -1), x], 1)
        layers, shape = [], frames.shape[:2]
        for number, probability in enumerate(masked, self.first_block):
            allowed = None
            if generator is not None or probability > 0:
                layers.append(self.predict(x, size, shape))
            if probability > 0:
                allowed = allowed_tokens(layers[-1], size, x.shape[1], probability, generator)
            x = self.backbone.run(x, (number, number), rotation, allowed)
        return layers, x, size

    def predict(
        self, x: Tensor, size: tuple[int, int], shape: Sequence[int], is_normed: bool = False
    ) -> LayerPredictions:
        """Applies the heads to the tokens of one layer.

        Args:
            x: Tokens (B * T, Q + N, C).
            size: (h, w) of the patch grid.
            shape: (B, T).
            is_normed: Whether the tokens are used as they are; otherwise the norm is applied first.
        """
        queries, patches = self.normed(x, size, is_normed)
        logits, embeds = (head(queries).unflatten(0, shape)[None] for head in (self.cls_embed, self.mask_embed))
        return LayerPredictions(logits, embeds, self.expand(patches).unflatten(0, shape))

    def normed(self, x: Tensor, size: tuple[int, int], is_normed: bool = False) -> tuple[Tensor, Tensor]:
        """Queries (N, Q, C) and patches (N, C, h, w) of tokens after the norm; arguments as in :meth:`predict`."""
        normed = x if is_normed else self.backbone.norm(x)
        patches = normed[:, x.shape[1] - size[0] * size[1] :]
        return normed[:, : self.num_queries], patches.transpose(1, 2).unflatten(2, size)

    def loss(self, frames: Tensor, targets: Sequence[ClipTargets], context: StepContext) -> dict[str, Tensor]:
        """Losses of all layers; each has its own mask features.

        Args:
            frames: Normalised frames (B, T, 3, H, W).
            targets: Ground truth of each clip.
            context: Progress and random seed of the training step.
        """
        probabilities = mask_probabilities(context.progress, self.num_blocks, **self.anneal)
        layers, x, size = self.decode(frames, probabilities, context.generator('anneal'))
        return self.losses_of([*layers, self.predict(x, size, frames.shape[:2])], targets, context)

    def losses_of(
        self, layers: Sequence[LayerPredictions], targets: Sequence[ClipTargets], context: StepContext
    ) -> dict[str, Tensor]:
        """Losses of the predictions of every layer; those before the last have the prefix ``d0.``, ``d1.``, ..."""
        losses = {}
        for i, predictions in enumerate(layers):
            is_last = i == len(layers) - 1
            scope = context if is_last else context.scoped(f'd{i}')
            found = self.criterion(predictions, targets, scope)
            losses.update({name if is_last else f'd{i}.{name}': value for name, value in found.items()})
        return losses


@torch.no_grad()
def allowed_tokens(
    layer: LayerPredictions,
    size: tuple[int, int],
    num_tokens: int,
    probability: float,
    generator: torch.Generator | None,
) -> Tensor:
    """Bool (B * T, Q, N), whether each query may attend to each token: to the patches of its mask, and all others.

    Args:
        layer: Predictions (L = 1).
        size: (h, w) of the patch grid; its tokens come last.
        num_tokens: Number of tokens N.
        probability: Probability with which a mask is used.
        generator: Draws for which queries it is; on the CPU. Not used with a probability of 1.
    """
    embeds, features = layer.mask_embeds[0].flatten(0, 1), layer.mask_features.flatten(0, 1)
    logits = torch.einsum('nqm,nmhw->nqhw', embeds, features)
    own = F.interpolate(logits, size, mode='bilinear', align_corners=False).flatten(2) > 0
    if probability < 1:
        lifted = torch.rand(own.shape[:2], generator=generator) > probability
        own = own | lifted.to(own.device)[..., None]
    return F.pad(own, (num_tokens - own.shape[2], 0), value=True)


def mask_probabilities(
    progress: float, num_blocks: int, start: Sequence[float], length: float, first_block: Sequence[float] | None = None
) -> list[float]:
    """Probability of a mask in each of the last blocks: 1, then ``(1 - share) ** 0.9`` within ``length``, then 0.

    Args:
        progress: Completed fraction of the training.
        num_blocks: Number of blocks.
        start: Progress at which the probability of the first and of the last block begins to fall.
        length: Progress during which it falls.
        first_block: Progress at which it begins and ends to fall in the first block, in place of its start and length.
    """
    first, last = start
    starts = [first + (last - first) * i / max(num_blocks - 1, 1) for i in range(num_blocks)]
    spans = [(begin, begin + length) for begin in starts]
    if first_block is not None:
        spans[0] = (first_block[0], first_block[1])
    shares = [min(max((progress - begin) / (end - begin), 0.0), 1.0) for begin, end in spans]
    return [(1 - share) ** 0.9 for share in shares]
