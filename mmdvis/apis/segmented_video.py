"""The frames of a video with their objects, segmented when they are asked for."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mmdvis.errors import DataError
from mmdvis.inference import KeyframeStream, OfflineVideo, VideoStream
from mmdvis.io import LiveFrames
from mmdvis.result_files import DEFAULT_KINDS
from mmdvis.results import ClassInfo, FrameResult, ResultCache, SegmentedObject, select_objects
from mmdvis.structures import FrameSource
from mmdvis.visualization import ResultVisualizer

from .segment_video import save_frames


class SegmentedVideo:
    """The frames of a video with their objects.

    The first iteration over all frames segments the video and keeps the results compressed; later ones read them. A
    live source is segmented once and not kept.

    Args:
        source: Frames of the video.
        start: Function that starts the segmentation of a video.
        is_kept: Objects for which it is false are left out.

    Attributes:
        classes: Classes of the model.
        cuts: Frames that begin a new scene, of those segmented so far.
    """

    def __init__(
        self,
        source: FrameSource | LiveFrames,
        start: Callable[[], VideoStream | OfflineVideo | KeyframeStream],
        classes: ClassInfo,
        is_kept: Callable[[SegmentedObject], bool] | None = None,
    ) -> None:
        self.source, self.start, self.classes, self.is_kept = source, start, classes, is_kept
        self.cuts: list[int] = []
        self.cache: ResultCache | None = None
        self.is_used = False

    @property
    def is_live(self) -> bool:
        """Whether the source is a camera, a network stream or a pipe."""
        return isinstance(self.source, LiveFrames)

    @property
    def problems(self) -> dict[int, str]:
        """Frame index -> message, for the damaged frames read so far."""
        return getattr(self.source, 'problems', {})

    def __len__(self) -> int:
        if isinstance(self.source, LiveFrames):
            raise TypeError(f'the number of frames of {self.source.describe()} is not known in advance')
        return len(self.source)

    def __iter__(self) -> Iterator[FrameResult]:
        return (replace(result, image=image) for image, result in self.frames())

    def frames(self) -> Iterator[tuple[np.ndarray, FrameResult]]:
        """Yields picture (H, W, 3) uint8 RGB and result of every frame.

        Raises:
            DataError: The source is live and was read before.
        """
        if self.cache is not None and not isinstance(self.source, LiveFrames):
            for t, result in enumerate(self.cache):
                yield self.source.read(t, t + 1)[0].permute(1, 2, 0).numpy(), result
            return
        if isinstance(self.source, LiveFrames) and self.is_used:
            raise DataError(f'{self.source.describe()} can be read only once; open it again, or save what is needed')
        self.is_used = True
        segmentation, cache = self.start(), ResultCache()
        for index, (image, result) in enumerate(segmentation.frames(self.source)):
            self.cuts = segmentation.cuts
            selected = result if self.is_kept is None else select_objects(result, self.is_kept)
            numbered = replace(selected, index=index)
            if not self.is_live:
                cache.append(numbered)
            yield image, numbered
        self.cache = cache

    def drawn(self, **drawing: Any) -> Iterator[np.ndarray]:
        """Yields every frame with its objects drawn in; options: those of ``ResultVisualizer``."""
        visualizer = ResultVisualizer(self.classes, **drawing)
        return (visualizer.draw(image, result) for image, result in self.frames())

    def save(
        self,
        out_dir: str | Path,
        save: Collection[str] = DEFAULT_KINDS,
        progress: bool = False,
        fps: float = 24.0,
        compare: str | Path | None = None,
        truth: str | Path | None = None,
        **drawing: Any,
    ) -> dict[str, Path]:
        """Writes the results; see :func:`mmdvis.apis.segment_video.save_frames`."""
        frames = self.frames()
        return save_frames(frames, self.classes, self.source, out_dir, fps, progress, save, drawing, compare, truth)

    def close(self) -> None:
        """Closes the files of the source; reading opens them again. A live source ends."""
        getattr(self.source, 'close', lambda: None)()

    def counts(self) -> dict[str, int]:
        """Class name -> number of identities (regions for stuff) in the whole video."""
        identities = {(segment.name, segment.id) for _, frame in self.frames() for segment in frame.objects}
        return dict(Counter(name for name, _ in sorted(identities)))
