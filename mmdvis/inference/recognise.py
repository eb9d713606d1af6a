"""Finds the config of weights that do not name it, such as those of other projects."""

import logging
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from torch import Tensor

from mmdvis.checkpoints import Checkpoint
from mmdvis.checkpoints.loading import WITHOUT_WEIGHTS
from mmdvis.checkpoints.zoo import ModelEntry, model_entries
from mmdvis.errors import CheckpointError
from mmdvis.registry import MODELS

LOGGER = logging.getLogger('mmdvis')


def recognised_entry(checkpoint: Checkpoint) -> ModelEntry:
    """The first named model whose config the weights fit; the others that fit are logged.

    Raises:
        CheckpointError: There is none.
    """
    fitting: list[ModelEntry] = []
    known: dict[str, bool] = {}
    for entry in model_entries().values():
        if entry.licence is None:
            continue
        path = str(entry.config)
        if path not in known:
            known[path] = fits(checkpoint.weights, Config.fromfile(path).model)
            if known[path]:
                fitting.append(entry)
    if not fitting:
        raise CheckpointError(
            f'{checkpoint.origin} does not contain its config and fits none of the models of `mmdvis models`; name the '
            'config as well'
        )
    others = ', '.join(entry.name for entry in fitting[1:])
    LOGGER.warning(
        '%s is used as %s%s', checkpoint.origin, fitting[0].name, f'; it would also fit {others}' if others else ''
    )
    return fitting[0]


def fits(weights: Mapping[str, Tensor], model: Mapping[str, Any]) -> bool:
    """Whether weights have the stages, classes, queries and backbone of a config of DVIS."""
    names = ('segmenter.cls_embed.weight', 'segmenter.query_feat.weight')
    if model['type'] != 'DVIS' or not all(name in weights for name in names):
        return False
    segmenter, backbone = model['segmenter'], model['segmenter']['backbone']
    expected = (model['num_classes'] + 1, segmenter['num_queries'])
    found = tuple(len(weights[name]) for name in names)
    stages = [(model.get(name) or {}).get('type') for name in ('tracker', 'refiner')]
    needed = [kind not in (None, *WITHOUT_WEIGHTS) for kind in stages]
    present = [any(name.startswith(f'{stage}.') for name in weights) for stage in ('tracker', 'refiner')]
    carries = 'segmenter.query_update.weight' in weights, segmenter['type'] == 'VidEoMTSegmenter'
    return expected == found and needed == present and carries[0] == carries[1] and backbone_fits(weights, backbone)


def backbone_fits(weights: Mapping[str, Tensor], backbone: Mapping[str, Any]) -> bool:
    """Whether weights have the blocks and widths of a ResNet, a Swin or a vision transformer, plain or with adapter."""
    prefix = 'segmenter.backbone.'
    names = {name[len(prefix) :] for name in weights if name.startswith(prefix)}
    if backbone['type'] == 'mmdet.ResNet':
        blocks = len({name.split('.')[1] for name in names if name.startswith('layer3.')})
        width = weights.get(f'{prefix}conv1.weight')
        counts = {18: 2, 34: 6, 50: 6, 101: 23}
        return (
            width is not None
            and len(width) == backbone.get('base_channels', 64)
            and blocks == counts[backbone['depth']]
        )
    if backbone['type'] == 'mmdet.SwinTransformer':
        blocks = len({name.split('.')[3] for name in names if name.startswith('stages.2.blocks.')})
        width = weights.get(f'{prefix}patch_embed.projection.weight')
        return width is not None and len(width) == backbone['embed_dims'] and blocks == backbone['depths'][2]
    if backbone['type'] in ('DINOv2', 'DINOv3'):
        arch = backbone['arch']
        sizes = MODELS.get(backbone['type']).ARCHES[arch] if isinstance(arch, str) else arch
        blocks = len({name.split('.')[1] for name in names if name.startswith('blocks.')})
        width, has_table = weights.get(f'{prefix}cls_token'), 'pos_embed' in names
        return (
            width is not None
            and (width.shape[-1], blocks) == (sizes['channels'], sizes['depth'])
            and has_table == (backbone['type'] == 'DINOv2')
        )
    return not any(name.startswith(('layer1.', 'stages.', 'blocks.')) for name in names)
