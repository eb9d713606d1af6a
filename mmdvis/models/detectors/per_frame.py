"""Any detector of mmdet or segmentor of mmseg, applied frame by frame, with an associator for identities."""

import copy
import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmdvis.checks import check_choice
from mmdvis.io import DiskBackedMaps
from mmdvis.models.functional.frame_truth import mask_boxes
from mmdvis.models.functional.video_tracks import Detections, VideoMemory
from mmdvis.registry import MODELS
from mmdvis.results import (
    VideoDataSample,
    VideoInstances,
    VideoPanoptic,
    VideoResult,
    VideoSemantic,
    encode_mask,
    label_dtype,
)
from mmdvis.structures import FrameSource, Segment

from .options import InferenceOptions, class_info
from .per_frame_results import FrameObjects, frame_objects, segment_map
from .trained_model import TrainedModel

TASKS = dict(vps='panoptic', vis='instance', vss='semantic')
INSTALLED = dict(mmdet='mmdet', mmseg='mmseg')  # scope -> package whose configs are in its folder .mim


@MODELS.register_module()
class PerFrameModel(TrainedModel):
    """A model for images that segments a video frame by frame; an associator gives objects their identities.

    It is used at test time only; train the model with its own project.

    Args:
        num_classes: Number of classes K.
        detector: Config of the model, or ``'mmdet::path'`` or ``'mmseg::path'`` of a config of these packages.
        task: ``'vis'`` for instances, ``'vps'`` for panoptic results, ``'vss'`` for semantic ones.
        num_things: Number of thing classes of panoptic models, which come first.
        score_thr: Instances with a lower score are left out.
        associator: Config of the associator; None matches masks moved along the optical flow.
        flow: Config of the estimator of optical flow; None: :class:`DISFlow` if the associator needs one.
        dataset_meta: Names, palette and category ids of the classes; or the name of a dataset that mmseg knows, such as
            ``'ade20k'``; None numbers the classes.

    Raises:
        ValueError: ``task`` is unknown, or a panoptic model has no ``num_things``.
    """

    def __init__(
        self,
        num_classes: int,
        detector: dict | str,
        task: str = 'vis',
        num_things: int | None = None,
        score_thr: float = 0.3,
        associator: dict | None = None,
        flow: dict | None = None,
        dataset_meta: dict | str | None = None,
    ) -> None:
        super().__init__(MODELS.build(dict(type='ClipPreprocessor')))
        check_choice('task', task, tuple(TASKS))
        if task == 'vps' and num_things is None:
            raise ValueError('a panoptic model needs num_things, the number of thing classes; set it, or another task')
        self.num_classes, self.task, self.num_things, self.score_thr = num_classes, task, num_things, score_thr
        self.scope, settings = detector_config(detector)
        with DefaultScope.overwrite_default_scope(self.scope):
            self.detector = registry_of(self.scope).build(settings)
        self.associator = MODELS.build(associator or dict(type='FlowIoUAssociator', forget_after=30))
        self.flow = MODELS.build(flow or dict(type='DISFlow')) if self.associator.needs_flow else None
        meta = known_meta(dataset_meta) if isinstance(dataset_meta, str) else dataset_meta
        self.classes = class_info(num_classes, num_things, meta)
        self.options, self.postprocessor, self.trainable = InferenceOptions(), None, ()
        self.requires_grad_(False)

    def parts(self) -> list[str]:
        """Name of the part that has parameters."""
        return ['detector']

    def frozen_stages(self) -> list[tuple[str, nn.Module]]:
        """The model for images, which is not trained."""
        return [('detector', self.detector)]

    def train(self, mode: bool = True) -> 'PerFrameModel':
        """The model stays in evaluation mode."""
        return super().train(False)

    def with_options(self, **options: Any) -> 'PerFrameModel':
        """The same model with other inference options; parameters are shared."""
        model = copy.copy(self)
        model.__dict__['options'] = self.options.updated(options)
        return model

    def forward(self, inputs: Any, data_samples: Sequence[VideoDataSample] | None = None, mode: str = 'predict') -> Any:
        """Predicts videos; the other modes of mmengine are refused.

        Raises:
            ValueError: The mode is not ``'predict'``.
        """
        if mode != 'predict' or data_samples is None:
            raise ValueError(
                f'PerFrameModel only predicts, got the mode {mode!r}; train the detector with {self.scope} itself'
            )
        return self.predict(inputs, data_samples)

    @torch.no_grad()
    def detect(self, frame: Tensor, size: tuple[int, int]) -> FrameObjects:
        """What the model finds in a frame.

        Args:
            frame: Frame (3, H, W) uint8 RGB.
            size: (height, width) of the result.
        """
        preprocessor, height, width = self.detector.data_preprocessor, *frame.shape[1:]
        channels = frame.flip(0) if getattr(preprocessor, '_channel_conversion', False) else frame  # stored as BGR
        meta = dict(
            img_shape=(height, width),
            ori_shape=size,
            pad_shape=(height, width),
            batch_input_shape=(height, width),
            scale_factor=(width / size[1], height / size[0]),
            img_id=0,
        )
        sample = importlib.import_module(f'{self.scope}.structures')
        kind = sample.SegDataSample if self.scope == 'mmseg' else sample.DetDataSample
        with DefaultScope.overwrite_default_scope(self.scope):
            data = dict(inputs=[channels.to(self.data_preprocessor.mean.device)], data_samples=[kind(metainfo=meta)])
            (found,) = self.detector.test_step(data)
        return frame_objects(found, self.task, size, self.num_things, self.score_thr)

    def step(
        self, frame: Tensor, state: VideoMemory | None = None, size: tuple[int, int] | None = None
    ) -> tuple[tuple[FrameObjects, Tensor], VideoMemory]:
        """Objects and regions of the next frame, the number of each object, and the state after it."""
        found = self.detect(frame, size or (frame.shape[1], frame.shape[2]))
        state = state or VideoMemory((), None, 0)
        if self.task == 'vss':
            return (found, found.labels), VideoMemory((), None, state.num_frames + 1)
        grid = (-(-frame.shape[1] // 4), -(-frame.shape[2] // 4))
        masks = F.adaptive_max_pool2d(found.masks.float(), grid) if len(found.masks) else None
        small = found.scores.new_zeros(0, *grid) if masks is None else masks
        flow = None
        if self.flow is not None and state.references:
            flow = self.flow(frame, state.references[0][0][None])[0]
        described = Detections(mask_boxes(found.masks), found.labels, found.scores, small)
        numbers, tracks = self.associator(described, state.tracks, state.num_frames, flow)
        return (found, numbers), VideoMemory(((frame, None),), tracks, state.num_frames + 1)

    def propagate(
        self, source: FrameSource, state: VideoMemory | None = None
    ) -> Iterator[tuple[tuple[FrameObjects, Tensor], VideoMemory]]:
        """Yields the objects of every frame with their numbers, and the state after it."""
        for t in range(len(source)):
            result, state = self.step(source.read(t, t + 1)[0], state, source.original)
            yield result, state

    def stream(self, source: FrameSource, state: VideoMemory | None = None) -> tuple[VideoResult, VideoMemory | None]:
        """Segments the next frames of a stream; returns their result and the state after them."""
        frames = []
        maps, by_frame, known = DiskBackedMaps(), [], {}
        for (found, numbers), after in self.propagate(source, state):
            state = after
            if self.task == 'vss':
                maps.append(found.label_map.to(getattr(torch, label_dtype(self.num_classes))))
            elif self.task == 'vps':
                ids, segments = segment_map(found, numbers, self.num_classes, self.num_things or 0)
                maps.append(ids)
                by_frame.append(segments)
                known.update({segment.id: segment for segment in segments})
            else:
                frames.append(self.instances_of(found, numbers, source.original))
        if self.task == 'vss':
            return VideoSemantic(maps, self.classes), state
        if self.task == 'vps':
            video: tuple[Segment, ...] = tuple(known[number] for number in sorted(known))
            return VideoPanoptic(maps, video, self.classes, tuple(by_frame)), state
        return joined_instances(frames, self.classes, source.original), state

    def instances_of(self, found: FrameObjects, numbers: Tensor, size: tuple[int, int]) -> VideoInstances:
        """The instances of one frame."""
        masks = [[encode_mask(mask.numpy())] for mask in found.masks.cpu()]
        scores, labels, ids = found.scores.cpu(), found.labels.cpu(), numbers.cpu() + 1
        return VideoInstances(scores, labels, ids, masks, self.classes, 1, size)

    def predictions(self, inputs: Sequence[FrameSource], store: str | None = None) -> Iterator[tuple[int, VideoResult]]:
        """Yields index and result of each video; ``store`` is not used."""
        for b, source in enumerate(inputs):
            yield b, self.stream(source)[0]

    def result(self, prediction: VideoResult) -> VideoResult:
        """The result of a prediction, which is one already."""
        return prediction

    def predict(self, inputs: Sequence[FrameSource], data_samples: Sequence[VideoDataSample]) -> list[VideoDataSample]:
        """Samples with the results of whole videos."""
        return [result.pack(data_samples[b]) for b, result in self.predictions(inputs)]


def detector_config(detector: dict | str) -> tuple[str, ConfigDict]:
    """Scope and config of a model of mmdet or mmseg.

    Raises:
        ValueError: The scope is neither, or there is no such config.
    """
    if isinstance(detector, str):
        scope, _, name = detector.partition('::')
        check_choice('the part before ::', scope, tuple(INSTALLED))
        path = Path(importlib.import_module(INSTALLED[scope]).__file__ or '').parent / '.mim' / 'configs' / name
        if not path.is_file():
            raise ValueError(f'{scope} has no config {name}; its configs are in {path.parents[1]}')
        settings = Config.fromfile(path).model
    else:
        settings = ConfigDict(copy.deepcopy(dict(detector)))
        scope = settings['type'].partition('.')[0] if '.' in settings['type'] else 'mmdet'
        check_choice('the scope of the detector', scope, tuple(INSTALLED))
    without_weights(settings)
    return scope, settings


def known_meta(name: str) -> dict[str, Any]:
    """Names and colours of the classes of a dataset that mmseg knows."""
    from mmseg.utils import get_classes, get_palette

    return dict(classes=get_classes(name), palette=get_palette(name))


def without_weights(part: Any) -> None:
    """Removes initial weights from a config, which a checkpoint replaces, and norms of several processes, in place."""
    if isinstance(part, dict):
        part.pop('init_cfg', None)
        part.pop('pretrained', None)
        if part.get('type') == 'SyncBN':
            part['type'] = 'BN'
        for value in part.values():
            without_weights(value)
    elif isinstance(part, (list, tuple)):
        for value in part:
            without_weights(value)


def registry_of(scope: str) -> Any:
    """The registry of models of a package, with all of its modules registered."""
    importlib.import_module(f'{scope}.utils').register_all_modules(init_default_scope=False)
    return importlib.import_module(f'{scope}.registry').MODELS


def joined_instances(frames: Sequence[VideoInstances], classes: Any, size: tuple[int, int]) -> VideoInstances:
    """The instances of several frames as tracks: (number, class) -> masks, with the mean score of their frames."""
    empty = encode_mask(torch.zeros(size, dtype=torch.bool).numpy())
    tracks: dict[tuple[int, int], dict[int, tuple[float, dict]]] = {}
    for t, frame in enumerate(frames):
        rows = zip(frame.ids.tolist(), frame.labels.tolist(), frame.scores.tolist(), frame.masks)
        for number, label, score, masks in rows:
            tracks.setdefault((number, label), {})[t] = (score, masks[0])
    scored = {key: sum(score for score, _ in seen.values()) / len(frames) for key, seen in tracks.items()}
    order = sorted(tracks, key=lambda key: -scored[key])
    return VideoInstances(
        torch.tensor([scored[key] for key in order]),
        torch.tensor([label for _, label in order], dtype=torch.long),
        torch.tensor([number for number, _ in order], dtype=torch.long),
        [[tracks[key].get(t, (0.0, empty))[1] for t in range(len(frames))] for key in order],
        classes,
        len(frames),
        size,
        tuple(frames),
    )
