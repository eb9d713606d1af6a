"""What lies between the chain of stages and a task."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from mmdvis.checks import check_shapes

from .masks import MaskSource


@dataclass(frozen=True, eq=False)
class VideoPrediction:
    """One video, no task yet.

    Attributes:
        ids (Q,): int64, the identity of each row.
        scores: (Q, K + 1) class probabilities of the whole video, or causal (T, Q, K + 1), row t
            knowing frames 0..t only (behind a refiner: the clips up to that of frame t).
        valid (T, Q): bool.
        masks: gives the masks of the rows and the frame that are asked for.
    """

    ids: Tensor
    scores: Tensor
    valid: Tensor
    masks: MaskSource

    def __post_init__(self) -> None:
        check_shapes(self, dict(ids='Q', scores='TQK' if self.is_causal else 'QK', valid='TQ'))

    @property
    def num_frames(self) -> int:
        """T."""
        return self.valid.shape[0]

    @property
    def is_causal(self) -> bool:
        """Whether each frame has scores of its own."""
        return self.scores.dim() == 3

    def probs_of(self, rows: Tensor) -> Callable[[int], Tensor]:
        """A function frame -> (len(rows), H, W) mask probabilities, zero where a row is not valid."""

        def probs(frame: int) -> Tensor:
            return self.masks.probs(rows, frame) * self.valid[frame, rows, None, None]

        return probs
