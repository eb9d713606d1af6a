"""Video semantic segmentation from a prediction."""

import torch
from torch import Tensor, nn

from mmdvis.io import DiskBackedMaps
from mmdvis.models.functional.mask_tiles import mask_tiles
from mmdvis.registry import MODELS
from mmdvis.results import ClassInfo, VideoPanoptic, VideoSemantic, label_dtype, lookup
from mmdvis.structures import VideoPrediction

MAX_VOTES = 1 << 24  # numbers held at once: classes times pixels


@MODELS.register_module()
class SemanticPostprocessor(nn.Module):
    """Assigns to every pixel the class with the largest sum, over the queries, of class times mask probability.

    Args:
        min_score: Queries whose best class probability is below it are ignored; 0 keeps all, as the official code does.
        around: Config of a panoptic postprocessor. Pixels of its segments get the class of the segment; only the void
            pixels are classified by the sums. The winner of the VPS track of PVUW 2024 derived VSS results from a VPS
            model in this way; the report does not state how void pixels were filled.
    """

    def __init__(self, min_score: float = 0.0, around: dict | None = None) -> None:
        super().__init__()
        self.min_score = min_score
        self.around = MODELS.build(around) if around else None

    def forward(self, prediction: VideoPrediction, classes: ClassInfo | None = None) -> VideoSemantic:
        """The semantic result of a video: labels (H, W) of every frame, uint8 where they fit.

        Args:
            prediction: the video; its masks are read once, frame by frame (twice with ``around``).
            classes: the classes of the model; None: numbered ones.
        """
        num_classes = prediction.scores.shape[-1] - 1
        dtype = getattr(torch, label_dtype(num_classes))
        panoptic = None if self.around is None else self.around(prediction, classes)
        maps = DiskBackedMaps()
        for frame in range(prediction.num_frames):
            maps.append(self.label(prediction, frame, panoptic).to(dtype))
        return VideoSemantic(maps, classes or ClassInfo.numbered(num_classes))

    def label(self, prediction: VideoPrediction, frame: int, panoptic: VideoPanoptic | None) -> Tensor:
        """Labels (H, W) int64 of one frame; those of the segments where ``panoptic`` has any."""
        if panoptic is None:
            return self.vote(prediction, frame)
        values = {segment.id: segment.label + 1 for segment in panoptic.known_segments(frame)}
        labels = torch.from_numpy(lookup(panoptic.maps[frame].numpy(), values)) - 1
        is_void = labels < 0
        return torch.where(is_void, self.vote(prediction, frame), labels) if is_void.any() else labels

    def vote(self, prediction: VideoPrediction, frame: int) -> Tensor:
        """The class (H, W) int64 with the largest sum in every pixel of one frame."""
        scores = (prediction.scores[frame] if prediction.is_causal else prediction.scores)[:, :-1]
        rows = (scores.amax(1) >= self.min_score).nonzero()[:, 0]
        weights = scores[rows]
        found = mask_tiles(prediction.masks, rows, frame) if prediction.valid[frame, rows].all() else None
        if found is not None:
            labels = torch.empty(prediction.masks.size.original, dtype=torch.int64)
            for tile in found:
                probs = tile.probs(torch.arange(len(rows)))
                labels[tile.target] = (probs.flatten(1).T @ weights).argmax(1).view(probs.shape[1:])
            return labels
        probs = prediction.probs_of(rows)(frame)
        stripe = max(1, MAX_VOTES // max(weights.shape[1] * probs.shape[-1], 1))  # lines at once
        return torch.cat(
            [torch.einsum('qk,qhw->khw', weights, lines).argmax(0).cpu() for lines in probs.split(stripe, 1)]
        )
