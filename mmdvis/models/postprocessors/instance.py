"""Video instance segmentation from a prediction."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from mmdvis.models.functional.mask_tiles import mask_tiles
from mmdvis.registry import MODELS
from mmdvis.results import ClassInfo, VideoInstances, encode_mask
from mmdvis.structures import VideoPrediction


@MODELS.register_module()
class InstancePostprocessor(nn.Module):
    """Keeps the pairs of track and class with the highest scores; a track may occur with several classes.

    This is the inference of DVIS for video instance segmentation.

    Args:
        max_num: Maximum number of pairs per video.
        mask_scores: Whether to multiply the class score of a pair by the mean mask probability over the pixels where it
            exceeds 0.5, as Mask2Former does for images (COCO mask AP). The pairs are selected by their class scores and
            then sorted by the product.
    """

    def __init__(self, max_num: int = 10, mask_scores: bool = False) -> None:
        super().__init__()
        self.max_num, self.mask_scores = max_num, mask_scores

    def forward(self, prediction: VideoPrediction, classes: ClassInfo | None = None) -> VideoInstances:
        """The instance result of a video.

        The tracks have the scores of the last frame if the scores are causal; each frame then has its own objects, with
        the scores known in that frame.

        Args:
            prediction: the video; its masks are read frame by frame, twice if the scores are causal.
            classes: the classes of the model; None: numbered ones.
        """
        if not prediction.is_causal:
            return self.tracks(prediction, prediction.scores, range(prediction.num_frames), classes)
        frames = [self.tracks(prediction, scores, [t], classes) for t, scores in enumerate(prediction.scores)]
        result = self.tracks(prediction, prediction.scores[-1], range(prediction.num_frames), classes)
        return replace(result, by_frame=tuple(frames))

    def tracks(
        self, prediction: VideoPrediction, scores: Tensor, frames: Sequence[int], classes: ClassInfo | None
    ) -> VideoInstances:
        """The tracks with the best scores (Q, K + 1), with their masks in the given frames."""
        scores = scores[:, :-1]
        classes = classes or ClassInfo.numbered(scores.shape[1])
        top, pair = scores.flatten().topk(min(self.max_num, scores.numel()))
        row, label = pair // scores.shape[1], pair % scores.shape[1]
        rows, place = row.unique(return_inverse=True)  # masks of a track are made once, however many classes it has
        codes, size, sums, areas = [], (0, 0), scores.new_zeros(len(rows)), scores.new_zeros(len(rows))
        for frame in frames:
            logits = prediction.masks.logits(rows, frame) if self.mask_scores else None
            masks = masks_of(prediction, rows, frame, logits)
            size = (masks.shape[1], masks.shape[2])
            codes.append(encode_masks(masks))
            if logits is not None:
                sums += (logits.sigmoid() * masks).flatten(1).sum(1)
                areas += masks.flatten(1).sum(1)
        if self.mask_scores:
            top, order = (top * (sums / (areas + 1e-6))[place]).sort(descending=True, stable=True)
            row, label, place = row[order], label[order], place[order]
        tracks = [[frame[k] for frame in codes] for k in place.tolist()]
        ids = prediction.ids[row].cpu() + 1  # 0 is no object
        return VideoInstances(top.cpu(), label.cpu(), ids, tracks, classes, len(frames), size)


def masks_of(prediction: VideoPrediction, rows: Tensor, frame: int, logits: Tensor | None = None) -> Tensor:
    """Masks (len(rows), H, W) bool of a frame.

    Without ``logits``, only the tiles in which a mask has a positive logit are computed.

    Args:
        prediction: The video.
        rows: Rows of the masks.
        frame: Index of the frame.
        logits: Mask logits (len(rows), H, W) of the whole frame, if they are known.
    """
    valid = prediction.valid[frame, rows]
    found = mask_tiles(prediction.masks, rows, frame) if logits is None else None
    if found is None:
        logits = prediction.masks.logits(rows, frame) if logits is None else logits
        return (logits > 0) & valid[:, None, None]
    masks = torch.zeros(len(rows), *prediction.masks.size.original, dtype=torch.bool)
    for tile in found:
        chosen = ((tile.bounds[1].amax(1) > 0) & valid).nonzero()[:, 0]
        if len(chosen):
            masks[chosen, tile.target[0], tile.target[1]] = tile.masks(chosen)
    return masks


def encode_masks(masks: Tensor) -> list[dict[str, Any]]:
    """COCO run-length masks of bool masks (k, H, W)."""
    return [encode_mask(mask) for mask in masks.cpu().numpy()]
