"""The parity fixtures of single parts: tracker and refiner of DVIS++, and the losses of DVIS."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmdvis.checkpoints import Checkpoint, load_weights, read_checkpoint
from mmdvis.checkpoints.converters import convert_detectron2
from mmdvis.models.functional.layer_predictions import LayerPredictions
from mmdvis.models.losses import QuerySetLoss
from mmdvis.models.refiners import TemporalRefiner
from mmdvis.models.trackers import DVISTracker
from mmdvis.structures import ClipTargets, FrameQueries, StepContext, TrackQueries

from .comparison import Arrays, Comparison, compare_equal, compare_heads, compare_values, verdict

PARTS = ('tracker', 'refiner')
DRAWS, MAX_STANDARD_ERRORS = 200, 4.0
LOSSES = dict(loss_ce='cls', loss_mask='mask', loss_dice='dice')  # official name -> ours


def compare_parts(folder: Path) -> list[Comparison]:
    """DVIS++ from files ``<name>_tracker_state_dict.npz``, ``<name>_refiner_state_dict.npz`` and ``<name>_expected.npz``."""
    info, found = json.loads((folder / 'info.json').read_text()), []
    for path in sorted(folder.glob('*_tracker_state_dict.npz')):
        name = path.name[: -len('_tracker_state_dict.npz')]
        with np.load(folder / f'{name}_expected.npz') as arrays:
            expected = dict(arrays)
        official = {
            f'{part}.{key}': value
            for part in PARTS
            for key, value in read_checkpoint(folder / f'{name}_{part}_state_dict.npz').items()
        }
        result = convert_detectron2(official)
        lines = [
            compare_equal('leftover names', list(result.leftover), []),
            *compare_plus(info[name], result.state_dict, expected),
        ]
        found += [replace(line, name=f'{name}.{line.name}') for line in lines]
    return found


def plus_stages(sizes: dict[str, Any], weights: dict[str, Tensor]) -> torch.nn.ModuleDict:
    """Tracker and refiner of DVIS++ with the given sizes and weights."""
    common = dict(
        num_classes=sizes['classes'],
        channels=sizes['C'],
        mask_channels=sizes['mask_dim'],
        decoder=dict(num_layers=sizes['layers'], num_heads=sizes['heads'], ffn_channels=sizes['ffn']),
    )
    stages = torch.nn.ModuleDict(
        dict(
            tracker=DVISTracker(refer='mlp', project_features=True, normed_outputs=False, **common),
            refiner=TemporalRefiner(**common),
        )
    ).eval()
    load_weights(stages, Checkpoint(weights, {}, 'the converted state dict', 'detectron2'))
    return stages


@torch.no_grad()
def compare_plus(sizes: dict[str, Any], weights: dict[str, Tensor], expected: Arrays) -> list[Comparison]:
    """The tracker on the segmenter's embeddings, and the refiner on what the tracker should have given."""
    stages, queries = plus_stages(sizes, weights), plus_queries(expected, sizes['classes'])
    tracker, refiner = stages['tracker'], stages['refiner']
    orders = tracker.orders(queries, None)
    aligned = queries.embeds.take_along_dim(orders[..., None], 2)
    references = tracker.decode_clip(queries, aligned, None).references.permute(0, 3, 1, 2)
    tracks, _ = tracker(queries)
    found = [
        compare_equal('indices', orders[0].tolist(), expected['indices'].tolist()),
        *compare_heads('tracker', tracks, expected),
        compare_values('tracker.pred_references', references, expected['tracker.pred_references']),
    ]
    given = rows_of(expected['tracker.pred_embds'])
    official = TrackQueries(
        tracks.ids,
        tracks.valid,
        given,
        tracks.class_logits,
        tracks.mask_embeds,
        tracks.mask_bias,
        tracks.mask_features,
        queries.embeds,
    )
    return [*found, *compare_heads('refiner', refiner(official), expected)]


def rows_of(embeds: np.ndarray) -> Tensor:
    """Embeddings in the official order (B, C, T, Q) as (B, T, Q, C)."""
    return torch.from_numpy(np.array(embeds)).float().permute(0, 2, 3, 1)


def plus_queries(expected: Arrays, num_classes: int) -> FrameQueries:
    """The fixture's segmenter output; classes and masks of the frames are of no consequence."""
    embeds, features = rows_of(expected['embeds_raw']), torch.from_numpy(np.array(expected['mask_features'])).float()
    batch, frames, slots = embeds.shape[:3]
    return FrameQueries(
        embeds,
        rows_of(expected['embeds_norm']),
        embeds.new_zeros(batch, frames, slots, num_classes + 1),
        embeds.new_zeros(batch, frames, slots, features.shape[2]),
        features,
        torch.ones(batch, frames, dtype=torch.bool),
    )


def compare_losses(folder: Path, draws: int = DRAWS) -> list[Comparison]:
    """The losses of tracker and refiner from ``inputs.npz`` and ``expected.json``."""
    expected, found = json.loads((folder / 'expected.json').read_text()), []
    with np.load(folder / 'inputs.npz') as arrays:
        inputs = dict(arrays)
    for stage, legacy in dict(
        tracker=dict(matching='first_appearance', legacy_shared_slots=True),
        refiner=dict(matching='video', legacy_tall_video=True),
    ).items():
        criterion = QuerySetLoss(inputs['pred_logits'].shape[-1] - 1, num_points=expected['num_points'], **legacy)
        for suffix, predictions, target in loss_cases(inputs, stage):
            pairs = criterion.match(predictions, [target], StepContext())[0]
            slots = sorted([int(n), int(q)] for q, n in zip(pairs[0][0], pairs[1][0]))
            found.append(compare_equal(f'{stage}.matching{suffix}', slots, expected[stage]['matching_gt_to_slot']))
            values = [criterion(predictions, [target], StepContext(iteration=i)) for i in range(draws)]
            for (name, ours), weight in zip(LOSSES.items(), criterion.weights):
                drawn = np.array([float(v[f'loss_{ours}']) for v in values]) / weight
                wanted = expected[stage]['losses'][f'{name}{suffix}']
                found.append(mean_deviation(f'{stage}.{name}{suffix}', drawn, wanted))
    return found


def loss_cases(inputs: Arrays, stage: str) -> Iterator:
    """Suffix, predictions and target of every layer; the features are the layer's own masks, which differ from layer to
    layer, and the mask embeddings the unit vectors.
    """
    logits, masks = (torch.from_numpy(inputs[name]).float() for name in ('pred_logits', 'pred_masks'))
    layers, batch, slots, frames = masks.shape[:4]
    visible = torch.from_numpy(inputs['gt_ids']) != -1
    target = ClipTargets(
        torch.from_numpy(inputs['gt_labels']),
        torch.arange(1, len(visible) + 1),
        torch.from_numpy(inputs['gt_masks']).bool(),
        visible,
    )
    unit = torch.eye(slots).expand(1, batch, frames, slots, slots)
    for k in range(layers):
        classes = logits[k : k + 1] if stage == 'tracker' else logits[k : k + 1, :, :1]
        yield '' if k == layers - 1 else f'_{k}', LayerPredictions(classes, unit, masks[k].transpose(1, 2)), target


def mean_deviation(name: str, drawn: np.ndarray, wanted: dict[str, float]) -> Comparison:
    """Compares the mean of random draws (n,) with an expected mean: within four combined standard errors, or 1e-4."""
    error, spread = (
        abs(drawn.mean() - wanted['mean']),
        math.hypot(drawn.std(ddof=1) / math.sqrt(len(drawn)), wanted['stderr']),
    )
    text = f'largest error {error:.2e} absolute, {error / max(abs(wanted["mean"]), 1e-12):.2e} relative'
    if spread > 1e-9:
        text += f', {error / spread:.2f} standard errors'
    return Comparison(
        name, verdict(error <= max(MAX_STANDARD_ERRORS * spread, 1e-4 if wanted['stderr'] == 0 else 0.0)), text
    )
