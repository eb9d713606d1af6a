"""Loads a model by name and segments any video with it."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mmdvis.checkpoints.zoo import DEFAULT, find_entry
from mmdvis.errors import CheckpointError
from mmdvis.io import PrefetchedFrames, open_frames
from mmdvis.models.detectors import DVIS
from mmdvis.results import FrameResult
from mmdvis.structures import FrameSource

from .frame_stream import FrameStream
from .model import init_model
from .offline_video import OfflineVideo
from .segment_video import segment_video
from .video_stream import VideoStream


def load(
    model: str | Path | None = None,
    weights: str | Path | None = None,
    device: str = 'auto',
    options: Mapping[str, Any] | None = None,
    trust: bool = False,
) -> 'VideoSegInferencer':
    """Loads a model.

    Args:
        model: Name of a model (:func:`mmdvis.list_models` lists them), checkpoint of mmdvis, or config. None loads the
            small model that is part of the package, which was trained on synthetic videos.
        weights: Checkpoint of mmdvis, detectron2, mmdet or transformers; required for configs and for names without
            published weights.
        device: Device of the model; ``'auto'`` is the first GPU if there is one, else the CPU.
        options: Overrides of the config.
        trust: Whether to allow unrestricted unpickling, which can execute arbitrary code.

    Raises:
        CheckpointError: The name is unknown, weights are missing, or the weights do not fit.
        ValueError: The device is not available.
    """
    device, short_edge, name = pick_device(device), 360, str(model or DEFAULT)
    if Path(name).suffix in ('.pth', '.pt', '.pkl', '.safetensors') or Path(name).is_file():
        if not Path(name).is_file():
            raise CheckpointError(f'there is no file {name}')
        if name.endswith('.py') and weights is None:
            raise CheckpointError(f'{name} is a config, so weights are needed as well; name a checkpoint')
        return VideoSegInferencer(init_model(name, weights, device, options, trust), short_edge)
    entry = find_entry(name)
    if weights is None and entry.weights is None:
        raise CheckpointError(
            f'no weights of {name} are published with mmdvis; get a checkpoint (see docs/en/official_weights.md) '
            'and name it as weights'
        )
    if weights is None:
        short_edge = entry.short_edge or short_edge
    return VideoSegInferencer(init_model(entry.config, weights or entry.weights, device, options, trust), short_edge)


def pick_device(device: str) -> str:
    """The device for ``'auto'``, or the given one.

    Raises:
        ValueError: The device is not available.
    """
    if device == 'auto':
        return 'cuda' if torch.cuda.is_available() else 'cpu'
    if device.startswith('cuda') and not torch.cuda.is_available():
        raise ValueError(f"device must be 'auto' or 'cpu', because torch finds no CUDA device here, got {device!r}")
    return device


class VideoSegInferencer:
    """Segments videos; calling it with a source gives a :class:`SegmentedVideo`.

    Args:
        model: Model with a postprocessor.
        short_edge: Short edge of the frames that the model processes, in pixels; None keeps the size.
        max_edge: Limit of the long edge in pixels.
    """

    def __init__(self, model: DVIS, short_edge: int | None = 360, max_edge: int | None = 1333) -> None:
        self.model, self.short_edge, self.max_edge = model, short_edge, max_edge

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.model.classes.names

    def __call__(self, source: str | Path | FrameSource, offline: bool = False, clip_len: int = 10) -> 'SegmentedVideo':
        """Segments a video when its frames are asked for.

        Args:
            source: Video file, folder of frames, or frame source; a :class:`DataError` is raised if it cannot be read.
            offline: Whether the result of every frame may depend on the whole video.
            clip_len: Frames that are processed together if ``offline`` is false.
        """
        frames = open_frames(source) if isinstance(source, (str, Path)) else source
        edges = (self.short_edge, self.max_edge)

        def start() -> VideoStream | OfflineVideo:
            if offline:
                return OfflineVideo(self.model, *edges, progress=False)
            return VideoStream(self.model, *edges, clip_len)

        return SegmentedVideo(PrefetchedFrames(frames), start)

    def stream(self, channels: str = 'rgb') -> FrameStream:
        """A stream for frames that arrive one by one, such as those of a camera; see :class:`FrameStream`."""
        return FrameStream(VideoStream(self.model, self.short_edge, self.max_edge), channels)


class SegmentedVideo:
    """The frames of a video with their objects; iterating segments the video from its beginning.

    Args:
        source: Frames of the video.
        start: Function that starts the segmentation of a video.
    """

    def __init__(self, source: FrameSource, start: Callable[[], VideoStream | OfflineVideo]) -> None:
        self.source, self.start = source, start

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[FrameResult]:
        for index, (image, result) in enumerate(self.start().frames(self.source)):
            yield replace(result, index=index, image=image)

    def save(self, out_dir: str | Path, progress: bool = False, fps: float = 24.0) -> dict[str, Path]:
        """Segments the video and writes the results; see :func:`segment_video`."""
        return segment_video(self.start(), self.source, out_dir, fps, progress)

    def counts(self) -> dict[str, int]:
        """Segments the video; returns class name -> number of identities (regions for stuff) in the whole video."""
        identities = {(segment.name, segment.id) for frame in self for segment in frame.objects}
        return dict(Counter(name for name, _ in sorted(identities)))
