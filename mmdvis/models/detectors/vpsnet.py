"""VPSNet (CVPR 2020): a panoptic detector that fuses the features of neighbouring frames and tracks objects."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox2roi
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmdvis.checks import check_choice
from mmdvis.io import DiskBackedMaps
from mmdvis.models.functional.frame_truth import frame_truth
from mmdvis.models.functional.joint_logits import PanopticFrame, fuse_frame, paste
from mmdvis.models.functional.video_tracks import Detections, VideoMemory
from mmdvis.registry import MODELS
from mmdvis.results import VideoDataSample, VideoPanoptic
from mmdvis.structures import FrameSource, Segment, quarter_flow

from .options import InferenceOptions, class_info, has_parameters, iteration_context
from .trained_model import TrainedModel
from .vpsnet_training import chosen_mask_logits, panoptic_loss, region_losses, track_loss

DETECTOR = ('backbone', 'neck', 'rpn_head', 'roi_head', 'semantic_head')
PARTS = ('backbone', 'neck', 'fuse', 'rpn_head', 'roi_head', 'semantic_head', 'track_head')
Pyramid = tuple[Tensor, ...]


@MODELS.register_module()
class VPSNet(TrainedModel):
    """Video panoptic segmentation, frame by frame, with the features of the frames before.

    Args:
        num_classes: Number of classes K.
        detector: Configs of ``backbone``, ``neck`` (a pyramid of five levels), mmdet's ``rpn_head`` and ``roi_head``,
            ``semantic_head``, and ``proposals``, the proposal options of training.
        panoptic: ``num_things``, the number of thing classes T, which come first; ``loss_weight``; ``min_stuff_area``,
            the share of the frame below which a stuff class becomes void; ``zero_outside``, see :func:`fuse_frame`.
        fuse: Config of :class:`TemporalFuse`; None uses the pyramid of the frame as it is.
        tracking: ``associator`` and, for models that learn to track, ``head``; ``feature``, the features that it reads
            in key frames, ``'fused'`` or ``'raw'``; and ``reference``, those that it reads in reference frames in
            training: ``'raw'``, or ``'fused'`` with the key frame as their reference.
        flow: Config of the estimator of optical flow; None without one.
        data_preprocessor: Config of the preprocessor; None uses :class:`ClipPreprocessor` with its default values.
        trainable: Names of the parts that are trained; ``'all'`` for all of them.
        dataset_meta: Names, palette and category ids of the classes; None numbers the classes.
        init_cfg: See ``mmengine.model.BaseModule``.

    Raises:
        ValueError: An option is unknown, or parts do not fit together.
    """

    def __init__(
        self,
        num_classes: int,
        detector: dict,
        panoptic: dict,
        fuse: dict | None = None,
        tracking: dict | None = None,
        flow: dict | None = None,
        data_preprocessor: dict | None = None,
        trainable: str | Sequence[str] = 'all',
        dataset_meta: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(MODELS.build(data_preprocessor or dict(type='ClipPreprocessor')), init_cfg)
        panoptic, tracking = dict(panoptic), dict(tracking or dict(associator=dict(type='RankAssociator')))
        self.num_classes, self.num_things = num_classes, panoptic.pop('num_things')
        self.panoptic_weight, self.panoptic = panoptic.pop('loss_weight', 1.0), panoptic
        configs = detector_configs(detector, num_classes, self.num_things)
        self.proposals = configs.pop('proposals')
        with DefaultScope.overwrite_default_scope('mmdet'):  # heads of mmdet name their parts without a scope
            for name in DETECTOR:
                setattr(self, name, MODELS.build(configs[name]))
        self.fuse = MODELS.build(fuse) if fuse else None
        self.track_head = MODELS.build(tracking['head']) if tracking.get('head') else None
        self.associator = MODELS.build(tracking['associator'])
        self.track_feature = tracking.get('feature', 'fused')
        self.track_reference = tracking.get('reference', 'raw')
        check_choice('feature', self.track_feature, ('fused', 'raw'))
        check_choice('reference', self.track_reference, ('fused', 'raw'))
        if self.track_reference == 'fused' and (self.fuse is None or self.track_feature == 'raw'):
            raise ValueError("tracking.reference='fused' requires fuse and tracking.feature='fused'")
        self.flow = MODELS.build(flow) if flow else None
        if self.flow is None and (self.associator.needs_flow or (self.fuse is not None and self.fuse.needs_flow)):
            raise ValueError('align and mask overlaps need optical flow; set flow, e.g. dict(type="DISFlow")')
        self.classes = class_info(num_classes, self.num_things, dataset_meta)
        self.options, self.postprocessor = InferenceOptions(), None
        self.trainable = tuple(self.parts()) if trainable == 'all' else tuple(trainable)
        for _, part in self.frozen_stages():
            part.requires_grad_(False)

    def parts(self) -> list[str]:
        """Names of the parts that have parameters."""
        return [name for name in PARTS if has_parameters(getattr(self, name))]

    def frozen_stages(self) -> list[tuple[str, nn.Module]]:
        """Names and modules of the parts that are not trained."""
        return [(name, getattr(self, name)) for name in self.parts() if name not in self.trainable]

    def train(self, mode: bool = True) -> 'VPSNet':
        """Sets the training mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        for _, part in self.frozen_stages():
            part.eval()
        return self

    def with_options(self, **options: Any) -> 'VPSNet':
        """The same model with other inference options; parameters are shared."""
        model = copy.copy(self)
        model.__dict__['options'] = self.options.updated(options)
        return model

    def forward(self, inputs: Any, data_samples: Sequence[VideoDataSample] | None = None, mode: str = 'tensor') -> Any:
        """Runs the model in one of the modes of mmengine.

        Args:
            inputs: Normalised clips (B, T, 3, H, W), the key frame first; frame sources for ``mode='predict'``.
            data_samples: Sample of each clip or video.
            mode: ``'loss'``, ``'predict'``, or ``'tensor'``, which returns the semantic logits of the key frames.

        Raises:
            ValueError: If the mode is unknown.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self.semantic_head(self.pyramid(inputs[:, 0]))
        raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}")

    def pyramid(self, frames: Tensor) -> Pyramid:
        """Feature pyramid of normalised frames (B, 3, H, W)."""
        return tuple(self.neck(self.backbone(frames)))

    def embed(self, pyramid: Pyramid, boxes: Sequence[Tensor]) -> Tensor:
        """Appearance (n, C) of regions, from boxes (n_b, 4) of each frame."""
        extractor = self.roi_head.bbox_roi_extractor
        return self.track_head(extractor(pyramid[: extractor.num_inputs], bbox2roi(list(boxes))))

    def loss(self, inputs: Tensor, data_samples: Sequence[VideoDataSample]) -> dict[str, Tensor]:
        """Losses of a batch of clips whose first frame is the key frame and the others its references.

        Args:
            inputs: Normalised clips (B, T, 3, H, W); with T = 1, a frame is its own reference.
            data_samples: Samples with ``gt_targets``.
        """
        targets, num_frames = [sample.gt_targets for sample in data_samples], inputs.shape[1]
        if num_frames == 1 and self.track_head is not None:
            raise ValueError(
                'a model with a track head learns from clips of at least two frames, got one; set num_frames=2'
            )
        raw = [self.pyramid(frames) for frames in inputs.unbind(1)]
        references = raw[1:] or raw[:1]
        key = self.fused(raw[0], references, self.training_flows(inputs, data_samples))
        truths = [frame_truth(target, 0, self.num_things) for target in targets]
        size = (inputs.shape[-2], inputs.shape[-1])
        losses, sampled = region_losses(self, key, truths, size, iteration_context())
        semantic = self.semantic_head(key)
        losses['loss_segm'] = self.semantic_head.loss(semantic, torch.stack([truth.semantic for truth in truths]))
        losses['loss_pano'] = panoptic_loss(self, key, semantic, truths)
        if self.track_head is not None:
            others = [[frame_truth(target, t, self.num_things) for target in targets] for t in range(1, num_frames)]
            feature = key if self.track_feature == 'fused' else raw[0]
            if self.track_reference == 'fused' and 'flows' in data_samples[0]:
                raise ValueError(
                    "tracking.reference='fused' requires the flow from the references into the key frames, which "
                    'LoadFlow does not read; leave out augment.flow, so that it is estimated'
                )
            references = self.track_references(raw, inputs)
            losses['loss_match'] = track_loss(self, feature, references, sampled, truths, others)
        return losses

    def track_references(self, raw: Sequence[Pyramid], inputs: Tensor) -> list[Pyramid]:
        """Pyramids of the references that the track head learns from, given those of all frames of clips."""
        if self.track_reference == 'raw':
            return list(raw[1:])
        pairs = [inputs[:, [t, 0]] for t in range(1, len(raw))]
        flows = [self.estimated_flows(pair) if self.fuse.needs_flow else None for pair in pairs]
        return [self.fused(pyramid, raw[:1], flow) for pyramid, flow in zip(raw[1:], flows)]

    def fused(self, key: Pyramid, references: Sequence[Pyramid], flows: Tensor | None) -> Pyramid:
        """The pyramid of key frames with what the references show."""
        if self.fuse is None:
            return key
        needed = self.fuse.num_references
        others = [*references, *[references[-1]] * (needed - len(references))][:needed] if needed else []
        if flows is not None and needed:
            flows = torch.cat([flows, *[flows[:, -1:]] * (needed - flows.shape[1])], 1)[:, :needed]
        return self.fuse(key, others, flows)

    def training_flows(self, inputs: Tensor, samples: Sequence[VideoDataSample]) -> Tensor | None:
        """Flow (B, N, 2, h, w) from the key frames into their references; None if it is not needed.

        It is that of the samples (see :class:`LoadFlow`), or else that of the estimator.
        """
        if self.fuse is None or not self.fuse.needs_flow:
            return None
        if all('flows' in sample for sample in samples):
            grid = (inputs.shape[-2] // 4, inputs.shape[-1] // 4)
            flows = [torch.stack([quarter_flow(flow, grid) for flow in sample.flows]) for sample in samples]
            return torch.stack(flows).to(inputs.device)
        return self.estimated_flows(inputs)

    def estimated_flows(self, inputs: Tensor) -> Tensor:
        """Flow (B, N, 2, h, w) of the estimator from the first frame of normalised clips into the others."""
        preprocessor = self.data_preprocessor
        images = (inputs * preprocessor.std + preprocessor.mean).round().clamp(0, 255).byte().cpu()
        flows = [self.flow(clip[0], clip[1:] if len(clip) > 1 else clip[:1]) for clip in images]
        return torch.stack(flows).to(inputs.device)

    @torch.no_grad()
    def step(
        self, frame: Tensor, state: VideoMemory | None = None, size: tuple[int, int] | None = None, names: Any = None
    ) -> tuple[tuple[Tensor, tuple[Segment, ...]], VideoMemory]:
        """Segments the next frame of a video.

        Args:
            frame: Frame (3, H, W) uint8.
            state: State after the previous frames; None starts a video.
            size: (height, width) of the result; None: that of the frame.
            names: Names of the video, the frame and the previous frames, for flow from files.

        Returns:
            Ids (height, width) int32 with the segments of the frame, and the state after it.
        """
        used = (frame.shape[1], frame.shape[2])
        padded = self.data_preprocessor.padded(used)
        raw = self.pyramid(self.data_preprocessor.normalise(frame[None], padded))
        state = state or VideoMemory((), None, 0)
        flows = self.flows(frame, state, raw, names)
        references = [pyramid for _, pyramid in state.references] or [raw]
        key = self.fused(raw, references, flows if self.fuse is not None and self.fuse.needs_flow else None)
        found, mask_logits = self.detect(key, used, padded)
        found = self.described(found, mask_logits, key if self.track_feature == 'fused' else raw)
        affinity = None if self.track_head is None else self.track_head.affinity
        motion = flows[0, 0] if flows is not None and state.references else None
        numbers, tracks = self.associator(found, state.tracks, state.num_frames, motion, affinity)
        semantic, size = self.semantic_head(key)[0].float(), size or used
        options = dict(self.panoptic, min_stuff_area=int(self.panoptic.get('min_stuff_area', 0) * size[0] * size[1]))
        joint = fuse_frame(
            semantic, mask_logits, found.boxes, found.labels, self.num_things, padded, used, size, **options
        )
        result = self.as_segments(joint, found, numbers, semantic)
        return result, VideoMemory(self.kept_references(frame, raw, state), tracks, state.num_frames + 1)

    def kept_references(self, frame: Tensor, raw: Pyramid, state: VideoMemory) -> tuple[tuple[Tensor, Any], ...]:
        """The frames that the next step refers to, newest first."""
        needed = max(self.fuse.num_references if self.fuse is not None else 0, int(self.associator.needs_flow))
        return ((frame, raw), *state.references)[:needed]

    def flows(self, frame: Tensor, state: VideoMemory, raw: Pyramid, names: Any) -> Tensor | None:
        """Flow (1, N, 2, h, w) from a frame into the references, at the size of p2; None without an estimator."""
        if self.flow is None:
            return None
        frames = torch.stack([reference for reference, _ in state.references] or [frame])
        flows = self.flow(frame, frames, names)[None].to(raw[0].device)
        height, width = raw[0].shape[-2:]
        return F.pad(flows, (0, width - flows.shape[-1], 0, height - flows.shape[-2]))

    def detect(self, pyramid: Pyramid, used: tuple[int, int], padded: tuple[int, int]) -> tuple[Detections, Tensor]:
        """The objects of a frame in descending order of score, and their mask logits (n, m, m)."""
        meta = dict(img_shape=used, pad_shape=padded, batch_input_shape=padded, scale_factor=(1.0, 1.0))
        proposals = self.rpn_head.predict(pyramid, [DetDataSample(metainfo=meta)], rescale=False)
        (found,) = self.roi_head.predict_bbox(pyramid, [meta], proposals, self.roi_head.test_cfg, rescale=False)
        order = found.scores.argsort(descending=True, stable=True)
        boxes, labels = found.bboxes[order], found.labels[order]
        logits = chosen_mask_logits(self.roi_head, pyramid, [boxes], labels)
        return Detections(boxes, labels, found.scores[order]), logits.float()

    def described(self, found: Detections, mask_logits: Tensor, pyramid: Pyramid) -> Detections:
        """The detections with what the associator needs."""
        masks = embeds = None
        if self.associator.needs_masks:
            size = (pyramid[0].shape[-2], pyramid[0].shape[-1])
            masks = found.boxes.new_zeros(len(found), *size)
            for mask, logits, box in zip(masks, mask_logits, found.boxes / 4):
                pasted = paste(logits, box, size)
                if pasted is not None:
                    mask[pasted[1]] = pasted[0].sigmoid()
            masks = masks.half()
        if self.track_head is not None:
            embeds = self.embed(pyramid, [found.boxes])
        return Detections(found.boxes, found.labels, found.scores, masks, embeds)

    def as_segments(
        self, joint: PanopticFrame, found: Detections, numbers: Tensor, semantic: Tensor
    ) -> tuple[Tensor, tuple[Segment, ...]]:
        """Ids (H, W) int32 on the CPU and segments of a frame; ids of stuff are 1 + s, of things 1 + S + number."""
        num_stuff = self.num_classes - self.num_things
        ids = torch.arange(1 + num_stuff + len(found), dtype=torch.int32)
        ids[1 + num_stuff :] = (1 + num_stuff + numbers).int().cpu()
        winners = joint.winners.cpu()
        present = winners.unique().tolist()
        small = F.interpolate(joint.winners[None, None].float(), semantic.shape[-2:], mode='nearest')[0, 0]
        shares, segments = semantic.softmax(0), []
        for value in present:
            if value > num_stuff:
                k = value - 1 - num_stuff
                label, score, row = int(found.labels[k]), float(found.scores[k]), int(numbers[k])
            elif value > 0:
                label, row = self.num_things + value - 1, -1
                region = shares[label][small == value]
                score = float(region.mean()) if region.numel() else float(shares[label].max())
            else:
                continue
            segments.append(Segment(int(ids[value]), row, label, value > num_stuff, score))
        return ids[winners.long()], tuple(sorted(segments, key=lambda segment: segment.id))

    @torch.no_grad()
    def propagate(
        self, source: FrameSource, state: VideoMemory | None = None, names: Any = None
    ) -> Iterator[tuple[tuple[Tensor, tuple[Segment, ...]], VideoMemory]]:
        """Yields ids and segments of every frame of a video, and the state after it."""
        for t in range(len(source)):
            around = None
            if names is not None:
                count = max(1, min(t, len(state.references) if state else 0))
                around = (names[0], names[1][t], *[names[1][max(t - 1 - k, 0)] for k in range(count)])
            result, state = self.step(source.read(t, t + 1)[0], state, source.original, around)
            yield result, state

    @torch.no_grad()
    def stream(
        self, source: FrameSource, state: VideoMemory | None = None, names: Any = None
    ) -> tuple[VideoPanoptic, VideoMemory | None]:
        """Segments the next frames of a stream; returns their result and the state after them."""
        maps, by_frame, known = DiskBackedMaps(), [], {}
        for (ids, segments), after in self.propagate(source, state, names):
            state = after
            maps.append(ids)
            by_frame.append(segments)
            known.update({segment.id: segment for segment in segments})
        video = tuple(known[number] for number in sorted(known))
        return VideoPanoptic(maps, video, self.classes, tuple(by_frame)), state

    def predictions(
        self, inputs: Sequence[FrameSource], store: str | None = None
    ) -> Iterator[tuple[int, VideoPanoptic]]:
        """Yields index and result of each video; ``store`` is not used."""
        for b, source in enumerate(inputs):
            yield b, self.stream(source)[0]

    def result(self, prediction: VideoPanoptic) -> VideoPanoptic:
        """The result of a prediction, which is one already."""
        return prediction

    def predict(self, inputs: Sequence[FrameSource], data_samples: Sequence[VideoDataSample]) -> list[VideoDataSample]:
        """Samples with the results of whole videos."""
        packed = []
        for source, sample in zip(inputs, data_samples):
            names = (sample.get('video_id'), sample.get('frame_names')) if sample.get('frame_names') else None
            packed.append(self.stream(source, names=names)[0].pack(sample))
        return packed


def detector_configs(detector: dict, num_classes: int, num_things: int) -> ConfigDict:
    """The configs of the parts of a detector with their numbers of classes.

    Raises:
        ValueError: A part is missing.
    """
    missing = [name for name in (*DETECTOR, 'proposals') if name not in detector]
    if missing:
        raise ValueError(f'detector must have {", ".join(DETECTOR)} and proposals, but {missing[0]} is missing')
    configs = ConfigDict(copy.deepcopy(dict(detector)))
    configs.roi_head.bbox_head.num_classes = num_things
    configs.roi_head.mask_head.num_classes = num_things
    configs.semantic_head.num_classes = num_classes
    return configs
