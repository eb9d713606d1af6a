"""Task-independent prediction of one video, the input of the postprocessors."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from mmdvis.checks import check_shapes

from .masks import MaskSource


@dataclass(frozen=True, eq=False)
class VideoPrediction:
    """Task-independent prediction of one video.

    Attributes:
        ids: Track id (Q,) int64 of each row.
        scores: Class probabilities (Q, K + 1) of the whole video, or causal class probabilities (T, Q, K + 1), where
            entry t depends only on frames 0..t (with a refiner: on the clips up to that of frame t).
        valid: Whether the track exists in the frame, (T, Q) bool.
        masks: Computes the masks of given rows in a given frame.
    """

    ids: Tensor
    scores: Tensor
    valid: Tensor
    masks: MaskSource

    def __post_init__(self) -> None:
        check_shapes(self, dict(ids='Q', scores='TQK' if self.is_causal else 'QK', valid='TQ'))

    @property
    def num_frames(self) -> int:
        """Number of frames T."""
        return self.valid.shape[0]

    @property
    def is_causal(self) -> bool:
        """Whether the scores are causal, with one set per frame."""
        return self.scores.dim() == 3

    def probs_of(self, rows: Tensor) -> Callable[[int], Tensor]:
        """Returns a function from frame index to mask probabilities (len(rows), H, W), zero for invalid rows."""

        def probs(frame: int) -> Tensor:
            values, valid = self.masks.probs(rows, frame), self.valid[frame, rows]
            return values if valid.all() else values * valid[:, None, None]

        return probs
