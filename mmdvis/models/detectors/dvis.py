"""Detector of the DVIS family: segmenter, tracker, refiner and postprocessor."""

import copy
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mmdvis.io import feature_store
from mmdvis.models.functional.class_scores import causal_scores, video_scores
from mmdvis.models.functional.precision import mixed_precision
from mmdvis.registry import MODELS
from mmdvis.results import VideoDataSample, VideoResult
from mmdvis.structures import (
    STAGES,
    FactoredMasks,
    FeatureStore,
    FrameQueries,
    FrameSize,
    FrameSource,
    TrackQueries,
    VideoPrediction,
    cat_time,
)

from .chain import ChainState, checked_store, expanded, is_stateful, keeps_compact, segment
from .frozen_outputs import cached_queries, cached_tracks, frozen_cache
from .options import (
    InferenceOptions,
    StreamState,
    class_info,
    has_parameters,
    iteration_context,
    resolve_trainable,
    with_num_classes,
)
from .trained_model import TrainedModel


@MODELS.register_module()
class DVIS(TrainedModel):
    """Video segmentation model with a chain of stages: segmenter, tracker, refiner and postprocessor.

    By default, the last stage with parameters is trained and the stages before it are frozen.

    Args:
        num_classes: Number of classes K; passed on to every stage that accepts it.
        segmenter: Config of the segmenter.
        tracker: Config of the tracker.
        refiner: Config of the refiner; None for a model without refiner.
        postprocessor: Config of the postprocessor, which determines the task; None for training only.
        data_preprocessor: Config of the preprocessor; None uses :class:`ClipPreprocessor` with its default values.
        trainable: ``'last'``, or the names of the stages that are trained. If several stages are trained, each of them
            except the last runs its forward pass twice per training step.
        window: Number of frames that segmenter and tracker process together at test time; results do not depend on it.
            None uses 1 on the CPU, where larger windows exceed the cache, and 3 on other devices.
        clip_len: Number of frames that the refiner processes together at test time (semi-online); identities persist
            across clips. None processes the whole video at once (offline).
        causal: Whether the class scores of a frame are computed from the mean class logits of the frames up to it.
            Results then do not depend on later frames (with a refiner: on frames after the clip). By default, the class
            logits are averaged over the whole video, as in published benchmarks, including those of online methods.
        dataset_meta: Names, palette and category ids of the classes, as in the ``dataset_meta`` of a checkpoint (see
            :meth:`ClassInfo.from_meta`). None numbers the classes.
        init_cfg: See ``mmengine.model.BaseModule``.

    Raises:
        ValueError: If an option is out of range, or a stage or ``dataset_meta`` contradicts ``num_classes``.
    """

    def __init__(
        self,
        num_classes: int,
        segmenter: dict,
        tracker: dict,
        refiner: dict | None = None,
        postprocessor: dict | None = None,
        data_preprocessor: dict | None = None,
        trainable: str | Sequence[str] = 'last',
        window: int | None = None,
        clip_len: int | None = None,
        causal: bool = False,
        dataset_meta: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(MODELS.build(data_preprocessor or dict(type='ClipPreprocessor')), init_cfg)
        self.num_classes = num_classes
        self.segmenter = MODELS.build(with_num_classes(segmenter, num_classes))
        self.tracker = MODELS.build(with_num_classes(tracker, num_classes))
        self.refiner = MODELS.build(with_num_classes(refiner, num_classes)) if refiner else None
        self.postprocessor = MODELS.build(postprocessor) if postprocessor else None
        self.classes = class_info(num_classes, getattr(self.postprocessor, 'num_things', None), dataset_meta)
        self.options = InferenceOptions(window, clip_len, causal)
        self.trainable = resolve_trainable(self, trainable)
        self.stage_texts = {name: repr(stage) for name, stage in dict(segmenter=segmenter, tracker=tracker).items()}
        for _, stage in self.frozen_stages():
            stage.requires_grad_(False).to(memory_format=torch.channels_last)

    def with_options(self, **options: Any) -> 'DVIS':
        """The same model with other inference options; parameters and submodules are shared.

        Args:
            **options: Fields of :class:`InferenceOptions`.

        Raises:
            ValueError: If an option is unknown or a value is not allowed.
        """
        model = copy.copy(self)
        model.__dict__['options'] = self.options.updated(options)
        checked_store(model.options.store, self.segmenter)
        return model

    def parts(self) -> list[str]:
        """Names of the stages that have parameters, in the order of the chain."""
        return [name for name in STAGES if has_parameters(getattr(self, name))]

    def frozen_stages(self) -> list[tuple[str, nn.Module]]:
        """Names and modules of the stages that are not trained."""
        stages = [(name, getattr(self, name)) for name in STAGES]
        return [(name, stage) for name, stage in stages if stage is not None and name not in self.trainable]

    def train(self, mode: bool = True) -> 'DVIS':
        """Sets the training mode; frozen stages stay in evaluation mode."""
        super().train(mode)
        for _, stage in self.frozen_stages():
            stage.eval()
        return self

    def forward(self, inputs: Any, data_samples: Sequence[VideoDataSample] | None = None, mode: str = 'tensor') -> Any:
        """Runs the model in one of the modes of mmengine.

        Args:
            inputs: Normalised clips (B, T, 3, H, W); frame sources for ``mode='predict'``.
            data_samples: Sample of each clip or video.
            mode: ``'loss'`` returns :meth:`loss`, ``'predict'`` returns :meth:`predict`, and ``'tensor'`` returns the
                refined :class:`TrackQueries`.

        Raises:
            ValueError: If the mode is unknown.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self.refine(self.step(inputs)[0])
        raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}")

    def loss(self, inputs: Tensor, data_samples: Sequence[VideoDataSample]) -> dict[str, Tensor]:
        """Losses of the trainable stages.

        Args:
            inputs: Normalised clips (B, T, 3, H, W).
            data_samples: Samples with ``gt_targets``.

        Returns:
            Loss name -> value; the names have the stage as prefix if several stages are trained.
        """
        targets, context = [sample.gt_targets for sample in data_samples], iteration_context()
        losses, value = {}, inputs
        for name in STAGES[: STAGES.index(self.trainable[-1]) + 1]:
            stage, prefix = getattr(self, name), f'{name}.' if len(self.trainable) > 1 else ''
            if name in self.trainable:
                losses.update({prefix + key: x for key, x in stage.loss(value, targets, context).items()})
            if name != self.trainable[-1]:
                value = self.forward_stage(name, value)
        return losses

    def forward_stage(self, name: str, inputs: Any) -> Any:
        """Output of one stage during training; frozen stages are run without gradients.

        Args:
            name: Name of the stage.
            inputs: Normalised clips (B, T, 3, H, W) for the segmenter, else the output of the previous stage.
        """
        stage, is_trainable = getattr(self, name), name in self.trainable
        cache = frozen_cache()
        with torch.set_grad_enabled(is_trainable):
            if name == 'segmenter' and is_stateful(stage):
                return stage(inputs)[0]
            if cache is not None and not is_trainable:
                run = cached_queries if name == 'segmenter' else cached_tracks
                return run(cache, self.stage_texts[name], stage, inputs)
            if name == 'segmenter' and not is_trainable and inputs.device.type == 'cpu':
                # frame by frame, because larger windows exceed the cache of a CPU
                return FrameQueries.of_windows(map(stage, inputs.split(1, 1)), inputs.shape[1])
            return stage(inputs)[0] if name == 'tracker' else stage(inputs)

    def step(
        self, frames: Tensor, state: ChainState | None = None, present: Tensor | None = None, compact: bool = False
    ) -> tuple[TrackQueries, ChainState]:
        """Runs segmenter and tracker on the next frames.

        Args:
            frames: Normalised frames (B, T, 3, H, W).
            state: State after the previous frames; None starts new videos.
            present: Bool mask (B, T), False in frames that pad a shorter video; None if there are no such frames.
            compact: See :func:`segment`.

        Returns:
            Tracks of the frames, and the state after them.
        """
        before = state or ChainState()
        with mixed_precision(self.options.precision, frames.device):
            queries, after = segment(self.segmenter, frames, present, before.segmenter, compact)
            tracks, tracker_state = self.tracker(queries, before.tracker)
        return tracks, ChainState(after, tracker_state)

    def refine(self, tracks: TrackQueries) -> TrackQueries:
        """Refines the tracks clip by clip; without a refiner, they are returned unchanged."""
        if self.refiner is None:
            return tracks
        with mixed_precision(self.options.precision, tracks.embeds.device):
            return cat_time([self.refiner(clip) for clip in tracks.clips(self.options.clip_len)])

    @torch.no_grad()
    def propagate(
        self, sources: Sequence[FrameSource], state: ChainState | None = None, compact: bool = False
    ) -> Iterator[tuple[TrackQueries, ChainState]]:
        """Tracks a batch of videos window by window; shorter videos are padded with frames that are not ``present``.

        Args:
            sources: Videos of the same padded size.
            state: State after the previous frames; None starts new videos.
            compact: See :func:`segment`.

        Yields:
            Tracks of a window, and the state after it.

        Raises:
            ValueError: If the videos have different padded sizes.
        """
        lengths, sizes = [len(source) for source in sources], {self.data_preprocessor.padded(s.size) for s in sources}
        if len(sizes) != 1:
            raise ValueError(
                f'the videos of a batch must have the same padded size, got {sorted(sizes)}; predict them one by one'
            )
        (size,) = sizes
        device = self.data_preprocessor.mean.device
        window = self.options.window or (1 if device.type == 'cpu' else 3)
        for start in range(0, max(lengths), window):
            stop = min(start + window, max(lengths))
            frames = torch.zeros(len(sources), stop - start, 3, *size, device=device)
            num_present = torch.tensor([min(stop, length) - start for length in lengths], device=device)
            for b, source in enumerate(sources):
                if start < lengths[b]:
                    images = source.read(start, min(stop, lengths[b]))
                    frames[b, : len(images)] = self.data_preprocessor.normalise(images, size)
            present = torch.arange(stop - start, device=device) < num_present[:, None]
            tracks, state = self.step(frames, state, present, compact)
            yield tracks, state

    @torch.no_grad()
    def predict(self, inputs: Sequence[FrameSource], data_samples: Sequence[VideoDataSample]) -> list[VideoDataSample]:
        """Predicts whole videos; videos of the same padded size form a batch.

        Args:
            inputs: Videos.
            data_samples: Sample of each video.

        Returns:
            Samples with the results.
        """
        results = {b: self.result(prediction) for b, prediction in self.predictions(inputs)}
        return [results[b].pack(data_samples[b]) for b in range(len(inputs))]

    def result(self, prediction: VideoPrediction) -> VideoResult:
        """Converts the prediction of a video to a result of the task of the postprocessor.

        Raises:
            ValueError: If the model has no postprocessor.
        """
        if self.postprocessor is None:
            raise ValueError(
                'the model needs a postprocessor to predict; set one in the config, e.g. PanopticPostprocessor'
            )
        return self.postprocessor(prediction, self.classes)

    @torch.no_grad()
    def predictions(
        self, inputs: Sequence[FrameSource], store: str | None = None
    ) -> Iterator[tuple[int, VideoPrediction]]:
        """Predicts videos before postprocessing; videos of the same padded size form a batch.

        Args:
            inputs: Videos.
            store: Storage of the mask features, see :func:`feature_store`; None uses the option of the model.

        Yields:
            Index and prediction of each video.
        """
        kind = checked_store(store or self.options.store, self.segmenter)
        groups: dict[tuple[int, int], list[int]] = {}
        for b, source in enumerate(inputs):
            groups.setdefault(self.data_preprocessor.padded(source.size), []).append(b)
        for size, members in groups.items():
            sources = [inputs[b] for b in members]
            features_of = partial(self.mask_features, size)
            stores = [feature_store(kind, source, features_of) for source in sources]
            tracks = TrackQueries.of_windows(self.tracked(sources, stores), max(map(len, sources)))
            refined = self.refine(tracks)
            for k, (b, features) in enumerate(zip(members, stores)):
                video, refined_video = (clip.video(k, len(inputs[b])) for clip in (tracks, refined))
                yield b, self.video_prediction(video, refined_video, inputs[b], features=features)

    def tracked(self, sources: Sequence[FrameSource], stores: Sequence[FeatureStore]) -> Iterator[TrackQueries]:
        """Tracks of each window; their mask features are moved to the stores.

        Args:
            sources: Videos of the same padded size.
            stores: Feature store of each video.
        """
        start = 0
        for clip, _ in self.propagate(sources, compact=keeps_compact(self)):
            for store, features, source in zip(stores, clip.mask_features, sources):
                store.append(features[: max(len(source) - start, 0)])
            start += clip.valid.shape[1]
            yield clip.without_features()

    def mask_features(self, size: tuple[int, int], frames: Tensor) -> Tensor:
        """Computes the mask features of frames.

        Args:
            size: Padded (height, width).
            frames: Frames (t, 3, H, W) uint8.

        Returns:
            Mask features (t, M, h, w).
        """
        frames = self.data_preprocessor.normalise(frames, size)
        with torch.no_grad(), mixed_precision(self.options.precision, frames.device):
            return self.segmenter.mask_features(frames[None])[0]

    def video_prediction(
        self,
        tracks: TrackQueries,
        refined: TrackQueries,
        source: FrameSource,
        scores: Tensor | None = None,
        features: FeatureStore | None = None,
    ) -> VideoPrediction:
        """Combines the tracks of one video (B = 1) into a prediction.

        Args:
            tracks: Tracks before the refiner.
            refined: Tracks after the refiner.
            source: The video.
            scores: Class probabilities; None computes them from the tracks.
            features: Mask features, compact if the segmenter has such; None uses those of the tracks.
        """
        if scores is None:
            tracked = None if self.refiner is None else tracks.class_logits[0]
            scores = (
                causal_scores(refined.class_logits[0], tracked)
                if self.options.causal
                else video_scores(refined.class_logits[0], refined.valid[0], tracked)
            )
        size = FrameSize(self.data_preprocessor.padded(source.size), source.size, source.original)
        features = refined.mask_features[0] if features is None else features
        features = expanded(features, self.segmenter, size.padded[1], self.options.precision)
        masks = FactoredMasks(refined.mask_embeds[0], refined.mask_bias[0], features, size)
        return VideoPrediction(refined.ids, scores, refined.valid[0], masks)

    @torch.no_grad()
    def stream(self, source: FrameSource, state: StreamState | None = None) -> tuple[VideoPrediction, StreamState]:
        """Causal prediction of the next clip of a video, regardless of the option ``causal``.

        Args:
            source: Frames of the clip. A refiner processes ``clip_len`` of them together.
            state: State after the previous clips; None starts a new video.

        Returns:
            Prediction of the clip, and the state after it.
        """
        compact = keeps_compact(self)
        windows = list(self.propagate([source], None if state is None else state.chain, compact))
        clips, chain = [clip for clip, _ in windows], windows[-1][1]
        tracks = cat_time(clips)
        refined = self.refine(tracks)
        logits, tracked = refined.class_logits[0].float(), tracks.class_logits[0].float()
        if state is None:
            state = StreamState(ChainState(), torch.zeros_like(logits[0]), torch.zeros_like(tracked[0]), 0)
        scores = causal_scores(
            logits, None if self.refiner is None else tracked, (state.logit_sum, state.tracked_sum), state.num_frames
        )
        next_state = StreamState(
            chain, state.logit_sum + logits.sum(0), state.tracked_sum + tracked.sum(0), state.num_frames + len(logits)
        )
        return self.video_prediction(tracks, refined, source, scores), next_state

    def val_step(self, data: dict[str, Any]) -> list[VideoDataSample]:
        """Predicts a collated batch of frame sources."""
        return self.predict(data['inputs'], data['data_samples'])

    def test_step(self, data: dict[str, Any]) -> list[VideoDataSample]:
        """Predicts a collated batch of frame sources."""
        return self.predict(data['inputs'], data['data_samples'])
