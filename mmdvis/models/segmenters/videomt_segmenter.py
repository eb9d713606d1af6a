"""VidEoMT: EoMT whose queries are carried from frame to frame, so that each query follows one object."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmdvis.errors import OptionError
from mmdvis.models.functional.matching import last_present
from mmdvis.models.layers.linear import Linear
from mmdvis.registry import MODELS
from mmdvis.structures import ClipTargets, FrameQueries, StepContext

from .eomt_segmenter import EoMTSegmenter


@dataclass(frozen=True, eq=False)
class VidEoMTState:
    """State of the segmenter between clips.

    Attributes:
        queries: Queries (B, Q, C) after the last block in the last present frame of each video.
    """

    queries: Tensor


@MODELS.register_module()
class VidEoMTSegmenter(EoMTSegmenter):
    """Segments and tracks with one vision transformer: queries are initialised from those of the previous frame.

    The blocks without queries process all frames of a clip together, the last blocks one frame after the other. Row q
    of all frames is the same object, so the tracker of the model is :class:`FixedTracker`.

    Args:
        backbone: See :class:`EoMTSegmenter`.
        num_classes: Number of classes K, things first.
        num_queries: Number of queries Q.
        num_blocks: Number of last blocks that process the queries.
        normed_state: Whether the queries are carried on after the final norm, as with DINOv3, or before it.
        normed_embeds: Whether later stages receive the queries after the final norm or before it.
        legacy_supervision: Whether, in training, the input of the last block has no loss, and without ``normed_state``
            the heads before the last block read tokens without the norm, as in the released code.
        loss: Config of the set loss, with ``matching='first_appearance'``; None for inference only.

    Raises:
        ValueError: The numbers of blocks or patches do not fit.
    """

    stateful = True

    def __init__(
        self,
        backbone: dict,
        num_classes: int,
        num_queries: int = 200,
        num_blocks: int = 4,
        normed_state: bool = False,
        normed_embeds: bool = True,
        legacy_supervision: bool = False,
        loss: dict | None = None,
    ) -> None:
        super().__init__(backbone, num_classes, num_queries, num_blocks, normed_embeds=normed_embeds, loss=loss)
        self.normed_state, self.legacy_supervision = normed_state, legacy_supervision
        self.query_update = Linear(self.mask_channels, self.mask_channels)

    def forward(
        self, frames: Tensor, present: Tensor | None = None, state: VidEoMTState | None = None, compact: bool = False
    ) -> tuple[FrameQueries, VidEoMTState]:
        """Computes the queries of the next frames of videos.

        Args:
            frames: Normalised frames (B, T, 3, H, W); H and W are multiples of the patch size.
            present: Bool mask (B, T), False in frames that pad a shorter video; None if there are no such frames.
            state: State after the previous frames; None if the videos start with these frames.
            compact: See :class:`EoMTSegmenter`.

        Returns:
            Queries of the frames, and the state after them.

        Raises:
            ValueError: A video starts without a present frame.
        """
        before = None if state is None else state.queries
        (tokens,), size = self.decode_clip(frames, before, None)
        carried = self.carried(tokens[:, :, : self.num_queries])
        last = carried[:, -1] if present is None else last_present(carried, present, before)
        return self.frame_queries(tokens, size, present, compact), VidEoMTState(last)

    def mask_features(self, frames: Tensor) -> Tensor:
        """Not possible, because the features of a frame depend on the frames before it.

        Raises:
            OptionError: Always.
        """
        raise OptionError('the mask features of VidEoMT cannot be computed without those of the frames before')

    def carried(self, raw: Tensor) -> Tensor:
        """The queries (..., Q, C) from which those of the next frame begin."""
        return self.backbone.norm(raw) if self.normed_state else raw

    def first_queries(self, before: Tensor | None, batch: int) -> Tensor:
        """Queries (B, Q, C) with which a frame begins.

        Args:
            before: Queries (B, Q, C) of the frame before; None in the first frame of a video.
            batch: Number of videos B.
        """
        learned = self.query_feat.weight
        return learned.expand(batch, -1, -1) if before is None else self.query_update(before) + learned

    def decode_clip(
        self, frames: Tensor, before: Tensor | None, generator: torch.Generator | None
    ) -> tuple[list[Tensor], tuple[int, int]]:
        """Runs the transformer.

        Args:
            frames: See :meth:`forward`.
            before: Queries (B, Q, C) carried from the frame before; None if the videos start with these frames.
            generator: Draws the scale of rotations; on the CPU. None outside of training.

        Returns:
            Tokens (B, T, Q + N, C), without the norm, before each of the last blocks (in training only) and after the
            last; size (h, w) of the patch grid.
        """
        x, size, rotation = self.encode(frames, generator)
        clip: list[list[Tensor]] = []
        for frame in x.unflatten(0, frames.shape[:2]).unbind(1):
            tokens = torch.cat([self.first_queries(before, len(frame)).to(frame.dtype), frame], 1)
            levels = [tokens]
            for number in range(self.first_block, len(self.backbone.blocks)):
                tokens = self.backbone.run(tokens, (number, number), rotation)
                levels.append(tokens)
            before = self.carried(tokens[:, : self.num_queries])
            clip.append(levels[-1:] if generator is None else levels)
        return [torch.stack(level, 1) for level in zip(*clip)], size

    def loss(self, frames: Tensor, targets: Sequence[ClipTargets], context: StepContext) -> dict[str, Tensor]:
        """Losses of all layers over the clip; gradients pass through the queries of all its frames.

        Args:
            frames: Normalised frames (B, T, 3, H, W).
            targets: Ground truth of each clip.
            context: Progress and random seed of the training step.
        """
        levels, size = self.decode_clip(frames, None, context.generator('rotation'))
        if self.legacy_supervision:
            levels = [*levels[:-2], levels[-1]]
        last, unnormed = levels[-1], self.legacy_supervision and not self.normed_state
        layers = [
            self.predict(x.flatten(0, 1), size, frames.shape[:2], is_normed=unnormed and x is not last) for x in levels
        ]
        return self.losses_of(layers, targets, context)
