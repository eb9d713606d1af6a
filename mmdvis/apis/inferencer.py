"""Loads a model by name and segments any video with it."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from mmengine.infer import BaseInferencer
from torch import Tensor, nn

from mmdvis.checkpoints.zoo import default_model, find_entry
from mmdvis.errors import BadInputError, CheckpointError, DataError, OptionError
from mmdvis.inference import (
    DESCRIPTION,
    FrameStream,
    KeyframeStream,
    OfflineVideo,
    VideoStream,
    init_model,
    load_exported,
    optimize_for_inference,
)
from mmdvis.io import ArrayFrames, LiveFrames, PrefetchedFrames, open_source
from mmdvis.models.detectors import DVIS
from mmdvis.registry import INFERENCERS
from mmdvis.results import SegmentedObject, labels_of
from mmdvis.structures import FrameSource

from .segmented_video import SegmentedVideo

Source = str | Path | int | np.ndarray | FrameSource | LiveFrames
CHECKPOINT_SUFFIXES = ('.pth', '.pt', '.pkl', '.safetensors')
INSTANCE_SCORE = 0.3  # instances are always the best few, however bad; below it they are left out


def load(
    model: str | Path | None = None,
    weights: str | Path | None = None,
    device: str = 'auto',
    options: Mapping[str, Any] | None = None,
    trust: bool = False,
    precision: str | None = None,
    compiled: bool = False,
) -> 'VideoSegInferencer':
    """Loads a model; the arguments are those of :class:`VideoSegInferencer`."""
    return VideoSegInferencer(
        model, weights, device, options=options, trust=trust, precision=precision, compiled=compiled
    )


def pick_device(device: str | None, precision: str | None = None) -> str:
    """The device for ``'auto'`` or None, or the given one; int8 runs on the CPU.

    Raises:
        ValueError: The device is unknown or not available.
    """
    if device is None or device == 'auto':
        return 'cuda' if torch.cuda.is_available() and precision != 'int8' else 'cpu'
    try:
        torch.device(device)
    except RuntimeError:
        raise ValueError(f"device must be 'auto', 'cpu', 'cuda' or 'cuda:N', got {device!r}") from None
    if device.startswith('cuda') and not torch.cuda.is_available():
        raise ValueError(f"device must be 'auto' or 'cpu', because torch finds no CUDA device here, got {device!r}")
    return device


def build(
    name: str,
    weights: str | Path | None,
    device: str | None,
    options: Mapping[str, Any] | None,
    trust: bool,
    precision: str | None,
) -> tuple[DVIS, int | None]:
    """Builds a model from a name, checkpoint, config or folder of an exported model.

    Returns:
        The model, and the short edge of its published weights.

    Raises:
        CheckpointError: The name is unknown, weights are missing, or the weights do not fit.
        OptionError: The model is an exported one, and weights or another device than the CPU are given.
        ValueError: The device is not available.
    """
    if (Path(name) / DESCRIPTION).is_file():
        if weights is not None or device not in (None, 'auto', 'cpu'):
            raise OptionError(f'{name} is an exported model, which contains its weights and runs on the CPU')
        return load_exported(name, options), None
    device = pick_device(device, precision)
    if Path(name).suffix in CHECKPOINT_SUFFIXES or Path(name).is_file():
        if not Path(name).is_file():
            raise CheckpointError(f'there is no file {name}')
        if name.endswith('.py') and weights is None:
            raise CheckpointError(f'{name} is a config, so weights are needed as well; name a checkpoint')
        return init_model(name, weights, device, options, trust), None
    entry = find_entry(name)
    if weights is None:
        return init_model(entry.config, entry.find_weights(), device, options, trust), entry.short_edge
    return init_model(entry.config, weights, device, options, trust), entry.short_edge


@INFERENCERS.register_module()
class VideoSegInferencer(BaseInferencer):
    """Segments videos; calling it with a source gives a :class:`SegmentedVideo`.

    Args:
        model: Name of a model (:func:`mmdvis.list_models` lists them), checkpoint of mmdvis, config, folder of an
            exported model (``mmdvis export``), or a built model.
            None loads ``minvis_r50_coco-panoptic``, or, if it is not here and cannot be downloaded, the small model
            that is part of the package, which was trained on synthetic videos.
        weights: Checkpoint of mmdvis, detectron2, mmdet or transformers; required for configs and for names without
            published weights.
        device: Device of the model; ``'auto'`` is the first GPU if there is one, else the CPU.
        short_edge: Short edge of the frames that the model processes, in pixels; None: that of the published weights,
            or 360.
        max_edge: Limit of the long edge in pixels.
        options: Overrides of the config.
        trust: Whether to allow unrestricted unpickling, which can execute arbitrary code.
        precision: ``'fp32'``, ``'bf16'``, ``'fp16'`` or ``'int8'`` (on the CPU), see :func:`optimize_for_inference`,
            which changes a built model in place. None is float32 with the model unchanged; ``'fp32'`` also folds
            batch norms, which changes results by rounding.
        compiled: Whether to compile parts of the model, which seldom pays on a CPU; precision None is then ``'fp32'``.

    Attributes:
        name: Name or path of the model.

    Raises:
        CheckpointError: The name is unknown, weights are missing, or the weights do not fit.
        OptionError: ``precision`` or ``compiled`` does not fit the model or the device.
        ValueError: The device is not available, or ``precision`` is unknown.
    """

    preprocess_kwargs = {'max_size'}
    forward_kwargs = {'offline', 'clip_len', 'on_cut', 'classes', 'score_thr', 'keyframes', 'max_memory'}
    postprocess_kwargs = {'out_dir', 'save'}

    def __init__(
        self,
        model: str | Path | DVIS | None = None,
        weights: str | Path | None = None,
        device: str | None = 'auto',
        short_edge: int | None = None,
        max_edge: int | None = 1333,
        options: Mapping[str, Any] | None = None,
        trust: bool = False,
        precision: str | None = None,
        compiled: bool = False,
    ) -> None:
        trained_edge = None
        if model is None and weights is not None:
            model, weights = weights, None  # a checkpoint of mmdvis contains its config
        self.name = 'model' if isinstance(model, nn.Module) else str(model or default_model())
        if not isinstance(model, nn.Module):
            model, trained_edge = build(self.name, weights, device, options, trust, precision)
        if precision is not None or compiled:
            model = optimize_for_inference(model, precision or 'fp32', compiled)
        self.model, self.max_edge = model, max_edge
        self.short_edge = short_edge or trained_edge or 360

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.model.classes.names

    @overload
    def __call__(self, inputs: Source, **options: Any) -> SegmentedVideo: ...

    @overload
    def __call__(self, inputs: Sequence[Source], **options: Any) -> list[SegmentedVideo]: ...

    def __call__(self, inputs: Source | Sequence[Source], **options: Any) -> SegmentedVideo | list[SegmentedVideo]:
        """Segments one or more videos lazily, as their frames are requested.

        Args:
            inputs: Video file, image, folder of frames, camera index, URL, ``-`` (the standard input), array
                (H, W, 3) or (T, H, W, 3) uint8 RGB, frame source, or a list of these.
            **options: ``max_size`` of :meth:`preprocess` and the options of :meth:`forward`.

        Raises:
            DataError: A source cannot be read.
        """
        if isinstance(inputs, (list, tuple)):
            return [self(source, **options) for source in inputs]
        max_size = options.pop('max_size', None)
        return self.forward(self.preprocess(inputs, max_size=max_size), **options)

    def preprocess(self, inputs: Any, batch_size: int = 1, max_size: int | None = None, **kwargs: Any) -> Any:
        """Opens a source.

        Args:
            inputs: See :meth:`__call__`.
            batch_size: Not used; videos are processed one after another.
            max_size: Longer edge in pixels to which larger frames are reduced while they are decoded.
            **kwargs: Not used.

        Raises:
            DataError: The source cannot be read.
        """
        if isinstance(inputs, (str, Path, int)):
            inputs = open_source(str(inputs), max_size)
        if isinstance(inputs, np.ndarray):
            inputs = ArrayFrames(array_frames(inputs))
        return inputs if isinstance(inputs, (LiveFrames, PrefetchedFrames)) else PrefetchedFrames(inputs)

    def forward(
        self,
        inputs: FrameSource | LiveFrames,
        offline: bool = False,
        clip_len: int = 10,
        on_cut: str = 'continue',
        classes: Collection[str] | None = None,
        score_thr: float | None = None,
        keyframes: int = 1,
        max_memory: int | None = None,
    ) -> SegmentedVideo:
        """Prepares the segmentation of a video.

        Args:
            inputs: Frames of the video.
            offline: Whether the result of every frame may depend on the whole video.
            clip_len: Frames that are processed together if ``offline`` is false.
            on_cut: Whether identities ``'continue'`` after a cut to another scene, or ``'reset'`` gives new ones.
            classes: Names of the classes that are kept; None keeps all.
            score_thr: Minimum score of an object; None: that of the model, or 0.3 for instance segmentation.
            keyframes: Distance of the frames that the model processes; the results of the others are moved along the
                optical flow, see :class:`KeyframeStream`. 1 processes all frames. Not with ``offline``; a refiner
                processes each keyframe on its own.
            max_memory: Number of bytes that a video may add to the memory with ``offline``, see :class:`OfflineVideo`;
                None keeps the mask features of all frames in memory.

        Raises:
            BadInputError: The model does not have a class of this name, ``keyframes`` is used with ``offline``, or
                ``max_memory`` without it.
        """
        if offline and keyframes != 1:
            raise BadInputError('keyframes are for streams; leave out offline, or set keyframes=1')
        if max_memory is not None and (max_memory <= 0 or not offline):
            raise BadInputError('max_memory must be positive and requires offline=True; streams use constant memory')
        is_ranked = type(self.model.postprocessor).__name__ == 'InstancePostprocessor'
        labels = None if classes is None else labels_of(classes, self.model.classes)
        least = INSTANCE_SCORE if score_thr is None and is_ranked else score_thr

        def start() -> VideoStream | OfflineVideo | KeyframeStream:
            if offline:
                size = (self.short_edge, self.max_edge)
                return OfflineVideo(self.model, *size, max_memory, progress=False, on_cut=on_cut)
            return self.open_stream(keyframes, clip_len, on_cut)

        return SegmentedVideo(inputs, start, self.model.classes, partial(is_selected, labels, least))

    def visualize(self, inputs: Any, preds: SegmentedVideo, show: bool = False, **kwargs: Any) -> Iterator[np.ndarray]:
        """Yields the drawn frames (H, W, 3) uint8 RGB of a segmented video; options: those of ``ResultVisualizer``."""
        return preds.drawn(**kwargs)

    def postprocess(
        self, preds: SegmentedVideo, visualization: Any = None, return_datasample: bool = False, **kwargs: Any
    ) -> dict[str, Path]:
        """Writes a segmented video; the options are those of :meth:`SegmentedVideo.save`."""
        return preds.save(**kwargs)

    def _init_pipeline(self, cfg: Any) -> Any:
        """The function that opens sources; mmengine asks for it."""
        return open_source

    def stream(self, channels: str = 'rgb', keyframes: int = 1) -> FrameStream:
        """A stream for frames that arrive one by one, such as those of a camera; see :class:`FrameStream`.

        Args:
            channels: Order of the colour channels, ``'rgb'`` or ``'bgr'`` (OpenCV).
            keyframes: See :meth:`forward`.
        """
        return FrameStream(self.open_stream(keyframes), channels)

    def open_stream(self, keyframes: int, clip_len: int = 10, on_cut: str = 'continue') -> VideoStream | KeyframeStream:
        """A new stream of clips, or of keyframes; the arguments are those of :meth:`forward`."""
        stream = VideoStream(self.model, self.short_edge, self.max_edge, clip_len, on_cut)
        return stream if keyframes == 1 else KeyframeStream(stream, keyframes)


def is_selected(labels: set[int] | None, least: float | None, segment: SegmentedObject) -> bool:
    """Whether an object belongs to the classes (None: all) and has the least score; regions without score have it."""
    is_class = labels is None or segment.label in labels
    return is_class and (least is None or segment.score is None or segment.score >= least)


def array_frames(array: np.ndarray) -> Tensor:
    """An image (H, W, 3) or video (T, H, W, 3) as frames (T, 3, H, W).

    Raises:
        DataError: The array has another shape or type.
    """
    video = array[None] if array.ndim == 3 else array
    if video.dtype != np.uint8 or video.ndim != 4 or video.shape[-1] != 3 or not len(video):
        raise DataError(
            f'an array must be uint8 (height, width, 3) or (frames, height, width, 3), got {array.dtype} '
            f'{array.shape}; convert it first'
        )
    return torch.from_numpy(np.ascontiguousarray(video)).permute(0, 3, 1, 2)
