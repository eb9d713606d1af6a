"""Compares tracker and refiner of DVIS++ and the losses of DVIS with their parity fixtures."""

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
LOSSES = dict(loss_ce='cls', loss_mask='mask', loss_dice='dice')  # official name -> name in mmdvis


def compare_parts(folder: Path) -> list[Comparison]:
    """Compares tracker and refiner of DVIS++.

    Args:
        folder: Contains ``info.json`` and, for each fixture, ``<name>_tracker_state_dict.npz``,
            ``<name>_refiner_state_dict.npz`` and ``<name>_expected.npz``.
    """
    info, comparisons = json.loads((folder / 'info.json').read_text()), []
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
        part_comparisons = [
            compare_equal('leftover names', list(result.leftover), []),
            *compare_plus(info[name], result.state_dict, expected),
        ]
        comparisons += [replace(comparison, name=f'{name}.{comparison.name}') for comparison in part_comparisons]
    return comparisons


def plus_stages(sizes: dict[str, Any], weights: dict[str, Tensor]) -> torch.nn.ModuleDict:
    """Builds tracker and refiner of DVIS++ with the given sizes and weights."""
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
    """Compares the tracker on the segmenter output, and the refiner on the expected tracker output, of a fixture."""
    stages, queries = plus_stages(sizes, weights), plus_queries(expected, sizes['classes'])
    tracker, refiner = stages['tracker'], stages['refiner']
    orders = tracker.orders(queries, None)
    aligned = queries.embeds.take_along_dim(orders[..., None], 2)
    references = tracker.decode_clip(queries, aligned, None).references.permute(0, 3, 1, 2)
    tracks, _ = tracker(queries)
    comparisons = [
        compare_equal('indices', orders[0].tolist(), expected['indices'].tolist()),
        *compare_heads('tracker', tracks, expected),
        compare_values('tracker.pred_references', references, expected['tracker.pred_references']),
    ]
    official_embeds = rows_of(expected['tracker.pred_embds'])
    official_tracks = TrackQueries(
        tracks.ids,
        tracks.valid,
        official_embeds,
        tracks.class_logits,
        tracks.mask_embeds,
        tracks.mask_bias,
        tracks.mask_features,
        queries.embeds,
    )
    return [*comparisons, *compare_heads('refiner', refiner(official_tracks), expected)]


def rows_of(embeds: np.ndarray) -> Tensor:
    """Converts embeddings from the official axis order (B, C, T, Q) to (B, T, Q, C)."""
    return torch.from_numpy(np.array(embeds)).float().permute(0, 2, 3, 1)


def plus_queries(expected: Arrays, num_classes: int) -> FrameQueries:
    """Segmenter output of the fixture; class logits and mask embeddings are zeros because they are not used."""
    embeds, features = rows_of(expected['embeds_raw']), torch.from_numpy(np.array(expected['mask_features'])).float()
    batch, frames, num_queries = embeds.shape[:3]
    return FrameQueries(
        embeds,
        rows_of(expected['embeds_norm']),
        embeds.new_zeros(batch, frames, num_queries, num_classes + 1),
        embeds.new_zeros(batch, frames, num_queries, features.shape[2]),
        features,
        torch.ones(batch, frames, dtype=torch.bool),
    )


def compare_losses(folder: Path, draws: int = DRAWS) -> list[Comparison]:
    """Compares the losses of tracker and refiner.

    Args:
        folder: Contains ``inputs.npz`` and ``expected.json``.
        draws: Number of loss evaluations with different random points that are averaged.
    """
    expected, comparisons = json.loads((folder / 'expected.json').read_text()), []
    with np.load(folder / 'inputs.npz') as arrays:
        inputs = dict(arrays)
    for stage, legacy in dict(
        tracker=dict(matching='first_appearance', legacy_shared_slots=True),
        refiner=dict(matching='video', legacy_tall_video=True),
    ).items():
        criterion = QuerySetLoss(inputs['pred_logits'].shape[-1] - 1, num_points=expected['num_points'], **legacy)
        for suffix, predictions, target in loss_cases(inputs, stage):
            pairs = criterion.match(predictions, [target], StepContext())[0]
            matched_pairs = sorted([int(n), int(q)] for q, n in zip(pairs[0][0], pairs[1][0]))
            comparisons.append(
                compare_equal(f'{stage}.matching{suffix}', matched_pairs, expected[stage]['matching_gt_to_slot'])
            )
            values = [criterion(predictions, [target], StepContext(iteration=i)) for i in range(draws)]
            for (name, ours), weight in zip(LOSSES.items(), criterion.weights):
                samples = np.array([float(v[f'loss_{ours}']) for v in values]) / weight
                expected_loss = expected[stage]['losses'][f'{name}{suffix}']
                comparisons.append(mean_deviation(f'{stage}.{name}{suffix}', samples, expected_loss))
    return comparisons


def loss_cases(inputs: Arrays, stage: str) -> Iterator:
    """Yields name suffix, predictions and targets of every layer.

    The mask features are the mask logits of the layer and the mask embeddings are unit vectors, so their product
    reproduces the mask logits.

    Args:
        inputs: Arrays of ``inputs.npz``.
        stage: ``'tracker'`` or ``'refiner'``.
    """
    logits, masks = (torch.from_numpy(inputs[name]).float() for name in ('pred_logits', 'pred_masks'))
    layers, batch, num_queries, frames = masks.shape[:4]
    visible = torch.from_numpy(inputs['gt_ids']) != -1
    target = ClipTargets(
        torch.from_numpy(inputs['gt_labels']),
        torch.arange(1, len(visible) + 1),
        torch.from_numpy(inputs['gt_masks']).bool(),
        visible,
    )
    unit = torch.eye(num_queries).expand(1, batch, frames, num_queries, num_queries)
    for k in range(layers):
        class_logits = logits[k : k + 1] if stage == 'tracker' else logits[k : k + 1, :, :1]
        yield '' if k == layers - 1 else f'_{k}', LayerPredictions(class_logits, unit, masks[k].transpose(1, 2)), target


def mean_deviation(name: str, drawn: np.ndarray, wanted: dict[str, float]) -> Comparison:
    """Compares the mean of random samples with an expected mean.

    The error must be at most four combined standard errors, or 1e-4 if the expected standard error is 0.

    Args:
        name: Name of the quantity.
        drawn: Samples (n,).
        wanted: Expected ``mean`` and its standard error ``stderr``.
    """
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
