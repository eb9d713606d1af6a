"""Builds models from the description of a parity fixture and compares what they compute with what is written there."""
from dataclasses import dataclass
from typing import Any, Dict, List, Tuple

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from mmdvis.models import DVIS
from mmdvis.registry import MODELS
from mmdvis.structures import ArrayFrames, TrackQueries, VideoDataSample, missing_weights

from .weight_conversion import convert_detectron2

SYSTEMS = ('MinVIS', 'DVIS_online', 'DVIS_offline')


@dataclass(frozen=True)
class Comparison:
    """One compared quantity.

    Attributes:
        name: as in the fixture.
        error: largest deviation in units of the tolerance 1e-4 + 1e-4 * |expected|, or the share of different pixels.
        is_share: which of the two.
    """
    name: str
    error: float
    is_share: bool

    @property
    def holds(self) -> bool:
        """Whether the quantity agrees: within the tolerance, or on 99.95 % of the pixels."""
        return self.error <= (0.0005 if self.is_share else 1.)


def backbone_config(backbone: Dict[str, Any]) -> dict:
    """Config of a fixture's backbone."""
    if backbone['type'] == 'ResNet':
        return dict(type='mmdet.ResNet', depth=backbone['depth'], norm_cfg=dict(type='BN', requires_grad=False),
                    norm_eval=True, style='pytorch')
    if backbone['type'] == 'SwinTransformer':
        sizes = {name: backbone[name] for name in ('embed_dims', 'depths', 'num_heads', 'window_size')}
        return dict(type='mmdet.SwinTransformer', pretrain_img_size=384, **sizes)
    raise ValueError(f"a backbone must be ResNet or SwinTransformer, got {backbone['type']}")


def model_config(info: Dict[str, Any], system: str, task: str) -> dict:
    """Config of one of ``SYSTEMS`` for the task vps, vis or vss, from a fixture's ``info.json``."""
    model, test = info['model'], info['test']
    segmenter = dict(
        type='Mask2FormerSegmenter', backbone=backbone_config(model['backbone']),
        in_channels=model['backbone']['out_channels'], num_classes=model['num_classes'], num_queries=model['num_queries'],
        channels=model['hidden_dim'], mask_channels=model['mask_dim'],
        pixel_decoder=dict(num_layers=model['pixel_encoder_layers'], ffn_channels=model['pixel_encoder_ffn'],
                           num_heads=model['num_heads']),
        decoder=dict(num_layers=model['decoder_layers'], num_heads=model['num_heads'], ffn_channels=model['decoder_ffn']))
    common = dict(num_classes=model['num_classes'], channels=model['hidden_dim'], mask_channels=model['mask_dim'],
                  num_heads=model['num_heads'], ffn_channels=model['tracker_ffn'])
    tracker = dict(type='CosineTracker') if system == 'MinVIS' else dict(
        type='DVISTracker', num_layers=model['tracker_layers'], legacy_inverse_match=True, context='first_frame', **common)
    refiner = dict(type='TemporalRefiner', num_layers=model['refiner_layers'], **common) if 'offline' in system else None
    postprocessors = dict(
        vps=dict(type='PanopticPostprocessor', num_things=model['num_things'], score_thr=test['object_mask_threshold'],
                 overlap_thr=test['overlap_threshold']),
        vis=dict(type='InstancePostprocessor', max_num=test['minvis_topk' if system == 'MinVIS' else 'max_num']),
        vss=dict(type='SemanticPostprocessor'))
    preprocessor = dict(type='ClipPreprocessor', mean=test['pixel_mean'], std=test['pixel_std'],
                        divisor=test['size_divisibility'])
    return dict(type='DVIS', segmenter=segmenter, tracker=tracker, refiner=refiner, postprocessor=postprocessors[task],
                data_preprocessor=preprocessor, window=test['window_size'])


def load_official(config: dict, official: Dict[str, Tensor]) -> DVIS:
    """The model with the converted weights; every weight that the model has must be among them."""
    model = MODELS.build(config).eval()
    weights = convert_detectron2(official).state_dict
    stages = {name for name, child in model.named_children() if any(True for _ in child.parameters())}
    weights = {k: v for k, v in weights.items() if k.split('.')[0] in stages}
    missing, unknown = missing_weights(model.state_dict(), weights), sorted(set(weights) - set(model.state_dict()))
    if missing or unknown:
        raise ValueError(f'after conversion {missing[:3]} are missing or misshapen and {unknown[:3]} are unknown')
    model.load_state_dict(weights, strict=False)
    return model


def dense_masks(queries: Any) -> Tensor:
    """Mask logits (B, Q, T, h, w) of frame queries or tracks."""
    masks = torch.einsum('btqm,btmhw->bqthw', queries.mask_embeds, queries.mask_features)
    if isinstance(queries, TrackQueries):
        masks = masks + queries.mask_bias.transpose(1, 2)[..., None, None]
    return masks


def deviation(name: str, value: Tensor, expected: np.ndarray) -> Comparison:
    """Compares numbers; another shape counts as infinitely far."""
    expected = torch.from_numpy(np.array(expected)).float()
    if value.shape != expected.shape:
        return Comparison(name, float('inf'), is_share=False)
    return Comparison(name, float(((value - expected).abs() / (1e-4 + 1e-4 * expected.abs())).max()), is_share=False)


def difference(name: str, value: np.ndarray, expected: np.ndarray) -> Comparison:
    """Compares pixels."""
    return Comparison(name, 1. if value.shape != expected.shape else float((value != expected).mean()), is_share=True)


def compare_stage(prefix: str, queries: Any, expected: Dict[str, np.ndarray]) -> List[Comparison]:
    """Compares logits, masks and embeddings of one stage, in the axis orders of the official code."""
    values = dict(pred_logits=queries.class_logits, pred_masks=dense_masks(queries),
                  pred_embds=queries.embeds.permute(0, 3, 1, 2))
    return [deviation(f'{prefix}.{name}', value, expected[f'{prefix}.{name}']) for name, value in values.items()]


@torch.no_grad()
def compare_stages(info: Dict[str, Any], official: Dict[str, Tensor], expected: Dict[str, np.ndarray]) -> List[Comparison]:
    """Every stage of the online and the offline model on the whole clip."""
    found = []
    for system in SYSTEMS[1:]:
        model = load_official(model_config(info, system, 'vps'), official)
        source = source_of(info, expected)
        frames = model.data_preprocessor.normalise(source.read(0, len(source)), model.data_preprocessor.padded(source.size))
        queries = model.segmenter(frames[None])
        tracks, _ = model.tracker(queries)
        if system == 'DVIS_online':
            found += compare_stage('segmenter', queries, expected)
            found.append(deviation('segmenter.mask_features', queries.mask_features[0], expected['segmenter.mask_features']))
        found += compare_stage(f'{system}.vps.tracker', tracks, expected)
        if model.refiner is not None:
            found += compare_stage(f'{system}.vps.refiner', model.refiner(tracks), expected)
    return found


def source_of(info: Dict[str, Any], expected: Dict[str, np.ndarray]) -> ArrayFrames:
    """The fixture's frames."""
    frames = torch.from_numpy(np.array(expected['frames'])).permute(0, 3, 1, 2).contiguous()
    return ArrayFrames(frames, original=tuple(info['output_size']))


def compare_results(info: Dict[str, Any], official: Dict[str, Tensor], expected: Dict[str, np.ndarray]) -> List[Comparison]:
    """What every task makes of the video, for every system that the fixture has."""
    found = []
    for system in SYSTEMS:
        for task, compare in dict(vps=compare_panoptic, vis=compare_instances, vss=compare_semantic).items():
            if any(name.startswith(f'{system}.{task}.') for name in expected):
                model = load_official(model_config(info, system, task), official)
                sample = model.predict([source_of(info, expected)], [VideoDataSample()])[0]
                found += compare(f'{system}.{task}', sample, info, expected)
    return found


def compare_panoptic(name: str, sample: VideoDataSample, info: dict, expected: Dict[str, np.ndarray]) -> List[Comparison]:
    """The map of ids, the segments and the slots they come from."""
    result, wanted = sample.pred_panoptic, info['expected']
    segments = [dict(id=s.id, isthing=s.is_thing, category_id=s.label) for s in result.segments]
    same = segments == wanted[f'{name}.segments'] and [s.row for s in result.segments] == wanted[f'{name}.ids']
    return [difference(f'{name}.panoptic', result.id_map.numpy(), expected[f'{name}.panoptic']),
            Comparison(f'{name}.segments', 0. if same else 1., is_share=True)]


def compare_instances(name: str, sample: VideoDataSample, info: dict, expected: Dict[str, np.ndarray]) -> List[Comparison]:
    """Scores, labels and masks."""
    result, shape = sample.pred_instances, info['expected'][f'{name}.masks_shape']
    wanted = np.unpackbits(expected[f'{name}.masks'])[:np.prod(shape)].reshape(shape)
    masks = np.stack([[coco_mask.decode(dict(code)) for code in track] for track in result.masks])
    return [deviation(f'{name}.scores', result.scores, expected[f'{name}.scores']),
            deviation(f'{name}.labels', result.labels.float(), expected[f'{name}.labels']),
            difference(f'{name}.masks', masks, wanted)]


def compare_semantic(name: str, sample: VideoDataSample, info: dict, expected: Dict[str, np.ndarray]) -> List[Comparison]:
    """The map of classes."""
    return [difference(f'{name}.sem_seg', sample.pred_semantic.label_map, expected[f'{name}.sem_seg'])]


def report(found: List[Comparison]) -> Tuple[str, bool]:
    """A line for every quantity, and whether all hold."""
    lines = []
    for c in found:
        how_far = f'{100 * c.error:.4f} % of the pixels differ' if c.is_share else f'{c.error:.3g} of the tolerance'
        lines.append(f"{'ok  ' if c.holds else 'FAIL'} {c.name:<45} {how_far}")
    return '\n'.join(lines), all(c.holds for c in found)
