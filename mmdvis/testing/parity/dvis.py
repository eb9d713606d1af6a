"""Compares complete DVIS models with their parity fixture: all stages, tasks and window lengths."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from mmdvis.checkpoints import Checkpoint, load_weights, read_checkpoint
from mmdvis.checkpoints.converters import convert_detectron2
from mmdvis.inference import optimize_for_inference
from mmdvis.io import ArrayFrames
from mmdvis.models.detectors import DVIS
from mmdvis.registry import MODELS
from mmdvis.results import VideoDataSample
from mmdvis.structures import cat_time

from .comparison import Arrays, Comparison, compare_equal, compare_heads, compare_pixels, compare_values, dense_masks

SYSTEMS = ('MinVIS', 'DVIS_online', 'DVIS_offline')


@dataclass(frozen=True)
class Fixture:
    """Content of a folder of fixtures of complete models.

    Attributes:
        info: Sizes of the model, options of the test and shapes of packed results.
        weights: Converted state dict, with the names of mmdvis.
        expected: Outputs of the official code.
        leftover: Official names that no conversion rule matches.
        options: Additional options of the model.
        precision: Precision for ``optimize_for_inference``; None skips it.
    """

    info: dict[str, Any]
    weights: dict[str, Tensor]
    expected: Arrays
    leftover: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    precision: str | None = None

    @classmethod
    def read(cls, folder: Path) -> 'Fixture':
        """Reads a folder and converts its weights."""
        result = convert_detectron2(read_checkpoint(folder / 'official_state_dict.npz'))
        with np.load(folder / 'expected.npz') as arrays:
            expected = dict(arrays)
        return cls(json.loads((folder / 'info.json').read_text()), result.state_dict, expected, result.leftover)

    @property
    def source(self) -> ArrayFrames:
        """Frames of the video."""
        frames = torch.from_numpy(np.array(self.expected['frames'])).permute(0, 3, 1, 2).contiguous()
        return ArrayFrames(frames, original=tuple(self.info['output_size']))

    def model(self, system: str, task: str, postprocessor: dict | None = None, **options: Any) -> DVIS:
        """Builds a model with the official weights.

        Args:
            system: One of ``SYSTEMS``.
            task: ``'vps'``, ``'vis'`` or ``'vss'``.
            postprocessor: Config of the postprocessor; None uses that of the task.
            options: Options that override those of the fixture.
        """
        config = model_config(self.info, system, task)
        model = MODELS.build(dict(config, postprocessor=postprocessor or config['postprocessor'])).eval()
        model = model.with_options(**{**self.options, **options})
        load_weights(model, Checkpoint(self.weights, {}, 'the converted state dict', 'detectron2'))
        return model if self.precision is None else optimize_for_inference(model, self.precision)


def backbone_config(backbone: dict[str, Any]) -> dict:
    """Config of the backbone of a fixture.

    Raises:
        ValueError: If the type of the backbone is not supported.
    """
    if backbone['type'] == 'ResNet':
        return dict(
            type='mmdet.ResNet',
            depth=backbone['depth'],
            norm_cfg=dict(type='BN', requires_grad=False),
            norm_eval=True,
            style='pytorch',
        )
    if backbone['type'] == 'SwinTransformer':
        sizes = {name: backbone[name] for name in ('embed_dims', 'depths', 'num_heads', 'window_size')}
        return dict(type='mmdet.SwinTransformer', pretrain_img_size=384, **sizes)
    raise ValueError(f'a backbone must be ResNet or SwinTransformer, got {backbone["type"]}')


def model_config(info: dict[str, Any], system: str, task: str) -> dict:
    """Model config from the ``info.json`` of a fixture.

    Args:
        info: Content of ``info.json``.
        system: One of ``SYSTEMS``.
        task: ``'vps'``, ``'vis'`` or ``'vss'``.
    """
    model, test = info['model'], info['test']
    segmenter = dict(
        type='Mask2FormerSegmenter',
        backbone=backbone_config(model['backbone']),
        in_channels=model['backbone']['out_channels'],
        num_queries=model['num_queries'],
        channels=model['hidden_dim'],
        mask_channels=model['mask_dim'],
        pixel_decoder=dict(
            num_layers=model['pixel_encoder_layers'],
            ffn_channels=model['pixel_encoder_ffn'],
            num_heads=model['num_heads'],
        ),
        decoder=dict(
            num_layers=model['decoder_layers'], num_heads=model['num_heads'], ffn_channels=model['decoder_ffn']
        ),
    )
    common = dict(channels=model['hidden_dim'], mask_channels=model['mask_dim'])
    layer = dict(num_heads=model['num_heads'], ffn_channels=model['tracker_ffn'])
    tracker = (
        dict(type='CosineTracker')
        if system == 'MinVIS'
        else dict(
            type='DVISTracker',
            decoder=dict(num_layers=model['tracker_layers'], **layer),
            legacy_inverse_match=True,
            context='first_frame',
            **common,
        )
    )
    refiner = dict(type='TemporalRefiner', decoder=dict(num_layers=model['refiner_layers'], **layer), **common)
    postprocessors = dict(
        vps=dict(
            type='PanopticPostprocessor',
            num_things=model['num_things'],
            score_thr=test['object_mask_threshold'],
            overlap_thr=test['overlap_threshold'],
        ),
        vis=dict(type='InstancePostprocessor', max_num=test['minvis_topk' if system == 'MinVIS' else 'max_num']),
        vss=dict(type='SemanticPostprocessor'),
    )
    preprocessor = dict(
        type='ClipPreprocessor', mean=test['pixel_mean'], std=test['pixel_std'], divisor=test['size_divisibility']
    )
    return dict(
        type='DVIS',
        num_classes=model['num_classes'],
        segmenter=segmenter,
        tracker=tracker,
        refiner=refiner if 'offline' in system else None,
        postprocessor=postprocessors[task],
        data_preprocessor=preprocessor,
        window=test['window_size'],
    )


@torch.no_grad()
def compare_stages(fixture: Fixture) -> list[Comparison]:
    """Compares every stage of the online and the offline model on the whole video."""
    comparisons, expected, source = [], fixture.expected, fixture.source
    for system in SYSTEMS[1:]:
        model = fixture.model(system, 'vps')
        frames = model.data_preprocessor.normalise(
            source.read(0, len(source)), model.data_preprocessor.padded(source.size)
        )
        queries = model.segmenter(frames[None])
        tracks, _ = model.tracker(queries)
        orders = model.tracker.orders(queries, None)[0]
        num_permuted = int((orders != torch.arange(orders.shape[1])).any(1).sum())
        if system == 'DVIS_online':
            comparisons.append(
                Comparison('matching', 'ok', f'permutes the queries of {num_permuted} of {len(source)} frames')
            )
            comparisons += compare_heads('segmenter', queries, expected)
            comparisons.append(
                compare_values(
                    'segmenter.mask_features',
                    queries.mask_features[0, : len(expected['segmenter.mask_features'])],
                    expected['segmenter.mask_features'],
                )
            )
        comparisons += compare_heads(f'{system}.vps.tracker', tracks, expected)
        if model.refiner is not None:
            comparisons += compare_heads(f'{system}.vps.refiner', model.refiner(tracks), expected)
    return comparisons


def compare_results(fixture: Fixture) -> list[Comparison]:
    """Compares the results of every system and task that the fixture contains."""
    comparisons = []
    for system in SYSTEMS:
        for task, compare in dict(vps=compare_panoptic, vis=compare_instances, vss=compare_semantic).items():
            if any(name.startswith(f'{system}.{task}.') for name in fixture.expected):
                sample = fixture.model(system, task).predict([fixture.source], [VideoDataSample()])[0]
                comparisons += compare(f'{system}.{task}', sample, fixture.info['expected'], fixture.expected)
    return comparisons


def compare_windows(fixture: Fixture, windows: Sequence[int] = (1, 2, 3)) -> list[Comparison]:
    """Compares window-wise inference with inference on the whole video in one window.

    Embeddings, logits and panoptic maps are compared; for attention masks only the number of flipped bits is reported.

    Args:
        fixture: Fixture.
        windows: Window lengths in frames.
    """
    comparisons, source = [], fixture.source
    for system in SYSTEMS:
        whole = run_windows(fixture.model(system, 'vps', window=len(source)), source)
        for window in windows:
            run, name = run_windows(fixture.model(system, 'vps', window=window), source), f'{system}.window {window}'
            comparisons += [
                compare_values(f'{name}.{key}', run.values[key], value) for key, value in whole.values.items()
            ]
            comparisons.append(compare_pixels(f'{name}.panoptic', run.id_map, whole.id_map))
            flipped = sum(int((a != b).sum()) for a, b in zip(run.attention, whole.attention))
            bits = sum(mask.numel() for mask in whole.attention)
            comparisons.append(Comparison(f'{name}.attention masks', 'ok', f'{flipped} of {bits} bits flipped'))
    return comparisons


@dataclass(frozen=True)
class WindowRun:
    """Outputs of a model for a video with one window length.

    Attributes:
        values: Class logits, mask logits and embeddings of the last stage.
        id_map: Panoptic ids (T, H, W) int32.
        attention: Attention masks (T, Q, S) bool of each decoder layer.
    """

    values: dict[str, Tensor]
    id_map: np.ndarray
    attention: list[Tensor]


@torch.no_grad()
def run_windows(model: DVIS, source: ArrayFrames) -> WindowRun:
    """Runs a model with a panoptic postprocessor and records the attention masks of its decoder."""
    attention_masks: list[list[Tensor]] = [[] for _ in model.segmenter.transformer_decoder.layers]

    def listener(k: int) -> Callable:
        return lambda module, inputs: attention_masks[k].append(inputs[-1].clone())

    hooks = [
        layer.register_forward_pre_hook(listener(k))
        for k, layer in enumerate(model.segmenter.transformer_decoder.layers)
    ]
    tracks = cat_time([clip for clip, _ in model.propagate([source])])
    for hook in hooks:
        hook.remove()
    refined = model.refine(tracks)
    id_map = model.postprocessor(model.video_prediction(tracks, refined, source)).id_map.numpy()
    values = dict(class_logits=refined.class_logits, mask_logits=dense_masks(refined), embeds=refined.embeds)
    return WindowRun(values, id_map, [torch.cat(masks) for masks in attention_masks])


def compare_panoptic(name: str, sample: VideoDataSample, info: dict[str, Any], expected: Arrays) -> list[Comparison]:
    """Compares the panoptic id map, the segments and their query rows."""
    result = sample.pred_panoptic
    segments = [dict(id=s.id, isthing=s.is_thing, category_id=s.label) for s in result.segments]
    return [
        compare_pixels(f'{name}.panoptic', result.id_map.numpy(), expected[f'{name}.panoptic']),
        compare_equal(f'{name}.segments', segments, info[f'{name}.segments']),
        compare_equal(f'{name}.ids', [s.row for s in result.segments], info[f'{name}.ids']),
    ]


def compare_instances(name: str, sample: VideoDataSample, info: dict[str, Any], expected: Arrays) -> list[Comparison]:
    """Compares instance scores, labels and masks."""
    result, shape = sample.pred_instances, info[f'{name}.masks_shape']
    expected_masks = np.unpackbits(expected[f'{name}.masks'])[: np.prod(shape)].reshape(shape)
    masks = np.stack([[coco_mask.decode(dict(code)) for code in track] for track in result.masks])
    return [
        compare_values(f'{name}.scores', result.scores, expected[f'{name}.scores']),
        compare_values(f'{name}.labels', result.labels.float(), expected[f'{name}.labels']),
        compare_pixels(f'{name}.masks', masks, expected_masks),
    ]


def compare_semantic(name: str, sample: VideoDataSample, info: dict[str, Any], expected: Arrays) -> list[Comparison]:
    """Compares the semantic label map."""
    return [compare_pixels(f'{name}.sem_seg', sample.pred_semantic.label_map, expected[f'{name}.sem_seg'])]
