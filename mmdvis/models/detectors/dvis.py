"""The conductor: segment each frame, track, refine, post-process."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from mmengine.dist import get_rank
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmdvis.checks import check_choice
from mmdvis.io import STORES, feature_store
from mmdvis.models.functional.class_scores import causal_scores, video_scores
from mmdvis.models.functional.precision import PRECISIONS, mixed_precision
from mmdvis.registry import MODELS
from mmdvis.structures import (
    STAGES,
    FactoredMasks,
    FeatureStore,
    FrameQueries,
    FrameSize,
    FrameSource,
    StepContext,
    TrackQueries,
    VideoDataSample,
    VideoPrediction,
    cat_time,
)


@dataclass(frozen=True, eq=False)
class StreamState:
    """What a stream of frames leaves behind.

    Attributes:
        tracker: the tracker's own state.
        logit_sum (Q, K + 1): sum over all frames of the last stage's class logits.
        tracked_sum (Q, K + 1): the same of the tracker.
        num_frames: frames seen.
    """

    tracker: object
    logit_sum: Tensor
    tracked_sum: Tensor
    num_frames: int


@MODELS.register_module()
class DVIS(BaseModel):
    """A chain of stages; the last one that has weights learns, the stages before it are frozen.

    Args:
        segmenter, tracker, refiner, postprocessor: configs of the stages; the last two may be None.
        data_preprocessor: config of the preprocessor.
        trainable: ``'last'``, or the names of the stages that learn; of several, each but the last runs twice a step.
        window: frames that go through segmenter and tracker at once at test time; no result depends on it. None: one on
            the CPU, whose cache more of them do not fit, three elsewhere.
        clip_len: frames that the refiner sees together at test time (semi-online); identities go on from clip to clip. None:
            the whole video (offline).
        causal: score every frame by the mean class logits of the frames up to it. Without a refiner no result then depends
            on a later frame, with one on no frame after its clip. The default, one mean for the whole video, is what
            benchmarks report, also those that are called online.
        precision: of products at test time: ``'fp32'``, ``'bf16'`` or ``'fp16'``. Matching, scores, sampling locations and
            norms are float32 in each.
        store: where the mask features of a whole video are until its masks are wanted, see :func:`feature_store`.
        init_cfg: as in mmengine.
    """

    def __init__(
        self,
        segmenter: dict,
        tracker: dict,
        refiner: dict | None = None,
        postprocessor: dict | None = None,
        data_preprocessor: dict | None = None,
        trainable: str | Sequence[str] = 'last',
        window: int | None = None,
        clip_len: int | None = None,
        causal: bool = False,
        precision: str = 'fp32',
        store: str = 'exact',
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(MODELS.build(data_preprocessor or dict(type='ClipPreprocessor')), init_cfg)
        for name, length, default in (
            ('window', window, 'what suits the device'),
            ('clip_len', clip_len, 'the whole video'),
        ):
            if length is not None and length < 1:
                raise ValueError(f'{name} must be at least one frame, got {length}; {name}=None means {default}')
        check_choice('precision', precision, PRECISIONS)
        check_choice('store', store, STORES)
        self.segmenter, self.tracker = MODELS.build(segmenter), MODELS.build(tracker)
        self.refiner = MODELS.build(refiner) if refiner else None
        self.postprocessor = MODELS.build(postprocessor) if postprocessor else None
        self.window, self.clip_len, self.causal, self.precision, self.store = window, clip_len, causal, precision, store
        self.trainable = resolve_trainable(self, trainable)
        for _, stage in self.frozen_stages():
            stage.requires_grad_(False).to(memory_format=torch.channels_last)

    def frozen_stages(self) -> list[tuple[str, nn.Module]]:
        """The stages that do not learn."""
        stages = [(name, getattr(self, name)) for name in STAGES]
        return [(name, stage) for name, stage in stages if stage is not None and name not in self.trainable]

    def train(self, mode: bool = True) -> 'DVIS':
        """As in torch, but frozen stages stay in evaluation mode."""
        super().train(mode)
        for _, stage in self.frozen_stages():
            stage.eval()
        return self

    def forward(self, inputs: Any, data_samples: Sequence[VideoDataSample] | None = None, mode: str = 'tensor') -> Any:
        """``'loss'`` and ``'predict'`` as in mmengine; ``'tensor'``: frames (B, T, 3, H, W) -> TrackQueries."""
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self.refine(self.step(inputs)[0])
        raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}")

    def loss(self, inputs: Tensor, data_samples: Sequence[VideoDataSample]) -> dict[str, Tensor]:
        """Losses of the learning stages on clips (B, T, 3, H, W); names get the stage's name where several learn."""
        targets, context = [sample.gt_targets for sample in data_samples], self.step_context()
        losses, value = {}, inputs
        for name in STAGES[: STAGES.index(self.trainable[-1]) + 1]:
            stage, prefix = getattr(self, name), f'{name}.' if len(self.trainable) > 1 else ''
            if name in self.trainable:
                losses.update({prefix + key: x for key, x in stage.loss(value, targets, context).items()})
            if name != self.trainable[-1]:
                value = self.pass_on(name, value)
        return losses

    def pass_on(self, name: str, value: Any) -> Any:
        """What a stage hands to the next one in training; frozen ones keep nothing for gradients."""
        stage, learns = getattr(self, name), name in self.trainable
        with torch.set_grad_enabled(learns):
            if name == 'segmenter' and not learns and value.device.type == 'cpu':  # frame by frame, see window
                return FrameQueries.of_windows(map(stage, value.split(1, 1)), value.shape[1])
            return stage(value)[0] if name == 'tracker' else stage(value)

    def step_context(self) -> StepContext:
        """Progress and randomness of this iteration, as mmengine's runner published them."""
        hub = MessageHub.get_current_instance()
        iteration, total, seed = (hub.get_info(name) for name in ('iter', 'max_iters', 'seed'))
        if iteration is None or not total:
            return StepContext(rank=get_rank())
        return StepContext(iteration / total, seed or 0, get_rank(), iteration)

    def step(
        self, frames: Tensor, state: object | None = None, present: Tensor | None = None
    ) -> tuple[TrackQueries, object]:
        """The streaming unit: normalised frames (B, T, 3, H, W) and the state before them -> tracks, state after them."""
        with mixed_precision(self.precision, frames.device):
            return self.tracker(self.segmenter(frames, present), state)

    def refine(self, tracks: TrackQueries) -> TrackQueries:
        """The tracks refined clip by clip; the same tracks where there is no refiner."""
        if self.refiner is None:
            return tracks
        with mixed_precision(self.precision, tracks.embeds.device):
            return cat_time([self.refiner(clip) for clip in tracks.clips(self.clip_len)])

    @torch.no_grad()
    def propagate(
        self, sources: Sequence[FrameSource], state: object | None = None
    ) -> Iterator[tuple[TrackQueries, object]]:
        """The loop over windows of videos of one padded size; shorter videos are padded with absent frames.

        Yields:
            the tracks of a window, and the tracker's state after it.

        Raises:
            ValueError: the videos have different padded sizes.
        """
        lengths, sizes = [len(source) for source in sources], {self.data_preprocessor.padded(s.size) for s in sources}
        if len(sizes) != 1:
            raise ValueError(
                f'videos that go through the model together must have one padded size, got {sorted(sizes)}'
            )
        (size,) = sizes
        device = self.data_preprocessor.mean.device
        window = self.window or (1 if device.type == 'cpu' else 3)
        for start in range(0, max(lengths), window):
            stop = min(start + window, max(lengths))
            frames = torch.zeros(len(sources), stop - start, 3, *size, device=device)
            ends = torch.tensor([min(stop, length) - start for length in lengths], device=device)
            for b, source in enumerate(sources):
                if start < lengths[b]:
                    read = source.read(start, min(stop, lengths[b]))
                    frames[b, : len(read)] = self.data_preprocessor.normalise(read, size)
            present = torch.arange(stop - start, device=device) < ends[:, None]
            tracks, state = self.step(frames, state, present)
            yield tracks, state

    @torch.no_grad()
    def predict(self, inputs: Sequence[FrameSource], data_samples: Sequence[VideoDataSample]) -> list[VideoDataSample]:
        """Whole videos; those of one padded size go through the model together."""
        if self.postprocessor is None:
            raise ValueError(
                'a model needs a postprocessor to predict; name one in the config, as PanopticPostprocessor'
            )
        results = {b: self.postprocessor(prediction, data_samples[b]) for b, prediction in self.predictions(inputs)}
        return [results[b] for b in range(len(inputs))]

    @torch.no_grad()
    def predictions(self, inputs: Sequence[FrameSource]) -> Iterator[tuple[int, VideoPrediction]]:
        """Number and prediction of each video, those of one padded size after each other."""
        groups: dict[tuple[int, int], list[int]] = {}
        for b, source in enumerate(inputs):
            groups.setdefault(self.data_preprocessor.padded(source.size), []).append(b)
        for members in groups.values():
            sources = [inputs[b] for b in members]
            stores = [
                feature_store(
                    self.store, source, partial(self.mask_features, self.data_preprocessor.padded(source.size))
                )
                for source in sources
            ]
            tracks = TrackQueries.of_windows(self.tracked(sources, stores), max(map(len, sources)))
            refined = self.refine(tracks)
            for k, (b, store) in enumerate(zip(members, stores)):
                length = len(inputs[b])
                yield (
                    b,
                    self.video_prediction(tracks.video(k, length), refined.video(k, length), inputs[b], features=store),
                )

    def tracked(self, sources: Sequence[FrameSource], stores: Sequence[FeatureStore]) -> Iterator[TrackQueries]:
        """The tracks of each window, without mask features, which go into the stores."""
        seen = 0
        for clip, _ in self.propagate(sources):
            for store, features, source in zip(stores, clip.mask_features, sources):
                store.append(features[: max(len(source) - seen, 0)])
            seen += clip.valid.shape[1]
            yield clip.without_features()

    def mask_features(self, size: tuple[int, int], frames: Tensor) -> Tensor:
        """Mask features (t, M, h, w) of frames (t, 3, H, W) uint8 that are padded to ``size``."""
        frames = self.data_preprocessor.normalise(frames, size)
        with torch.no_grad(), mixed_precision(self.precision, frames.device):
            return self.segmenter.mask_features(frames[None])[0]

    def video_prediction(
        self,
        tracks: TrackQueries,
        refined: TrackQueries,
        source: FrameSource,
        scores: Tensor | None = None,
        features: FeatureStore | None = None,
    ) -> VideoPrediction:
        """The prediction of one video (B = 1) from its tracks before and after the refiner.

        ``scores`` are made of the tracks unless given, mask features are the tracks' own unless given.
        """
        if scores is None:
            tracked = None if self.refiner is None else tracks.class_logits[0]
            scores = (
                causal_scores(refined.class_logits[0], tracked)
                if self.causal
                else video_scores(refined.class_logits[0], refined.valid[0], tracked)
            )
        size = FrameSize(self.data_preprocessor.padded(source.size), source.size, source.original)
        features = refined.mask_features[0] if features is None else features
        masks = FactoredMasks(refined.mask_embeds[0], refined.mask_bias[0], features, size)
        return VideoPrediction(refined.ids, scores, refined.valid[0], masks)

    @torch.no_grad()
    def stream(self, source: FrameSource, state: StreamState | None = None) -> tuple[VideoPrediction, StreamState]:
        """Causal prediction of the next clip, whatever ``causal`` says: no other is possible while a video goes on.

        Args:
            source: the frames of the clip; a refiner sees ``clip_len`` of them at once, the identities come from ``state``.
            state: what the clips before left; None begins a video.
        """
        clips, before = [], None if state is None else state.tracker
        for clip, before in self.propagate([source], before):
            clips.append(clip)
        tracks = cat_time(clips)
        refined = self.refine(tracks)
        logits, tracked = refined.class_logits[0].float(), tracks.class_logits[0].float()
        if state is None:
            state = StreamState(None, torch.zeros_like(logits[0]), torch.zeros_like(tracked[0]), 0)
        scores = causal_scores(
            logits, None if self.refiner is None else tracked, (state.logit_sum, state.tracked_sum), state.num_frames
        )
        after = StreamState(
            before, state.logit_sum + logits.sum(0), state.tracked_sum + tracked.sum(0), state.num_frames + len(logits)
        )
        return self.video_prediction(tracks, refined, source, scores), after

    def val_step(self, data: dict[str, Any]) -> list[VideoDataSample]:
        """Predicts a collated batch of frame sources."""
        return self.predict(data['inputs'], data['data_samples'])

    def test_step(self, data: dict[str, Any]) -> list[VideoDataSample]:
        """Predicts a collated batch of frame sources."""
        return self.predict(data['inputs'], data['data_samples'])


def resolve_trainable(model: nn.Module, trainable: str | Sequence[str]) -> tuple[str, ...]:
    """The names of the stages that learn, in the order of the chain.

    Raises:
        ValueError: a name is no stage, or its stage has no weights.
    """
    stages = {name: getattr(model, name) for name in STAGES}
    weighty = [name for name, stage in stages.items() if stage is not None and any(True for _ in stage.parameters())]
    if trainable == 'last':
        return (weighty[-1],)
    names = (trainable,) if isinstance(trainable, str) else tuple(trainable)
    unknown = [name for name in names if name not in weighty]
    if unknown or not names:
        raise ValueError(
            f"trainable must be 'last' or name stages with weights ({', '.join(weighty)}), got {trainable!r}"
        )
    return tuple(name for name in STAGES if name in names)
