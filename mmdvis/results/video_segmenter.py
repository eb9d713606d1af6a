"""The members of a model that training, inference and tools may use."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from torch import Tensor

from mmdvis.structures import FrameSource, TrackQueries, VideoPrediction

from .class_info import ClassInfo
from .video_results import VideoDataSample


class VideoSegmenter(Protocol):
    """A model that segments videos.

    Attributes:
        num_classes: number of classes K.
        classes: their names, colours and ids.
    """

    num_classes: int
    classes: ClassInfo

    def parts(self) -> list[str]:
        """Names of the stages that have parameters, in the order in which they are trained."""

    def loss(self, inputs: Tensor, data_samples: Sequence[VideoDataSample]) -> dict[str, Tensor]:
        """Losses of clips (B, T, 3, H, W)."""

    def propagate(
        self, sources: Sequence[FrameSource], state: object | None = None
    ) -> Iterator[tuple[TrackQueries, object]]:
        """Yields the tracks of each window and the state after it."""

    def predict(self, inputs: Sequence[FrameSource], data_samples: Sequence[VideoDataSample]) -> list[VideoDataSample]:
        """Samples with the results of whole videos."""

    def stream(self, source: FrameSource, state: Any | None = None) -> tuple[VideoPrediction, Any]:
        """Segments the next frames of a stream; returns their prediction and the updated state."""
