"""Segmenters with a state, or with compact mask features, in the chain of stages."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmdvis.models.functional.precision import mixed_precision
from mmdvis.structures import ExpandedFeatures, FeatureStore, FrameQueries


@dataclass(frozen=True, eq=False)
class ChainState:
    """State of segmenter and tracker after the frames that have been processed.

    Attributes:
        segmenter: State of the segmenter; None for segmenters that process each frame independently.
        tracker: State of the tracker; None before the first frame.
    """

    segmenter: object | None = None
    tracker: object | None = None


def is_stateful(segmenter: nn.Module) -> bool:
    """Whether the queries of a frame depend on earlier frames, so that the segmenter takes and returns a state."""
    return getattr(segmenter, 'stateful', False)


def segment(
    segmenter: nn.Module,
    frames: Tensor,
    present: Tensor | None = None,
    state: object | None = None,
    compact: bool = False,
) -> tuple[FrameQueries, object | None]:
    """Queries of the next frames, and the state of the segmenter after them.

    Args:
        segmenter: Segmenter with or without a state.
        frames: Normalised frames (B, T, 3, H, W).
        present: Bool mask (B, T), False in frames that pad a shorter video; None if there are no such frames.
        state: State of the segmenter after the previous frames; None starts new videos.
        compact: Whether the mask features are those before ``segmenter.expand``, if it has them.
    """
    option = dict(compact=True) if compact and has_compact_features(segmenter) else {}
    if is_stateful(segmenter):
        return segmenter(frames, present, state, **option)
    return segmenter(frames, present, **option), None


def has_compact_features(segmenter: nn.Module) -> bool:
    """Whether the mask features of a segmenter are kept at a larger stride, and enlarged when masks are computed."""
    return hasattr(segmenter, 'expand')


def keeps_compact(model: nn.Module) -> bool:
    """Whether the mask features of a model stay compact at test time: neither tracker nor refiner reads them.

    A stage reads mask features unless it has ``reads_mask_features = False``.
    """
    later: list[nn.Module | None] = [model.tracker, model.refiner]
    is_read = any(getattr(stage, 'reads_mask_features', True) for stage in later if stage is not None)
    return has_compact_features(model.segmenter) and not is_read


def expanded(
    features: Tensor | FeatureStore, segmenter: nn.Module, width: int, precision: str
) -> Tensor | FeatureStore | ExpandedFeatures:
    """Mask features at stride 4 of a video, enlarged frame by frame if they are compact.

    Args:
        features: Mask features (T, M, h, w), or a store that returns those of one frame (M, h, w).
        segmenter: Segmenter of the features.
        width: Width of the padded frames.
        precision: Compute precision, see :class:`InferenceOptions`.
    """
    if not has_compact_features(segmenter):
        return features

    @torch.no_grad()
    def expand(found: Tensor) -> Tensor:
        if found.shape[-1] * segmenter.compact_stride != width:  # at stride 4
            return found
        with mixed_precision(precision, found.device):
            return segmenter.expand(found.float() if precision == 'fp32' else found)

    return ExpandedFeatures(features, expand)


def checked_store(store: str, segmenter: nn.Module) -> str:
    """Returns the storage of the mask features.

    Raises:
        ValueError: The features cannot be recomputed frame by frame.
    """
    if store == 'recompute' and is_stateful(segmenter):
        raise ValueError(
            f"store='recompute' is not possible with {type(segmenter).__name__}, whose mask features depend on earlier "
            "frames; use 'memory' or 'disk'"
        )
    return store
