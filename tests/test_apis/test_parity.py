"""Official weights in, official results out, on copies of the small fixtures."""
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import DATA

from mmdvis.apis.parity import (Comparison, compare_results, compare_stages, deviation, load_official, model_config,
                                report, source_of)
from mmdvis.models import QuerySetLoss
from mmdvis.models.functional.predict import LayerPredictions
from mmdvis.structures import ClipTargets, StepContext, read_checkpoint

SHARED = Path(__file__).parents[3] / 'shared' / 'fixtures' / 'parity'
FOLDERS = [DATA / 'parity' / 'dvis_swin', *(folder for folder in [SHARED / 'dvis_r18'] if folder.is_dir())]


def fixture(folder):
    info = json.loads((folder / 'info.json').read_text())
    return info, read_checkpoint(folder / 'official_state_dict.npz'), dict(np.load(folder / 'expected.npz'))


@pytest.mark.parametrize('folder', FOLDERS, ids=lambda f: f.name)
def test_every_stage_agrees(folder):
    text, holds = report(compare_stages(*fixture(folder)))
    assert holds, text


@pytest.mark.parametrize('folder', FOLDERS, ids=lambda f: f.name)
def test_every_result_agrees(folder):
    found = compare_results(*fixture(folder))
    assert len(found) == 15
    text, holds = report(found)
    assert holds, text


def test_window_does_not_matter():
    info, official, expected = fixture(FOLDERS[0])
    logits = []
    for window in (1, 4, 7):
        model = load_official(dict(model_config(info, 'DVIS_online', 'vps'), window=window), official)
        logits.append(torch.cat([clip.class_logits for clip, _ in model.propagate([source_of(info, expected)])], 1))
    for other in logits[1:]:
        torch.testing.assert_close(logits[0], other, atol=1e-4, rtol=1e-4)


def test_a_wrong_value_is_seen():
    text, holds = report([deviation('x', torch.ones(2), np.array([1., 1.001])), Comparison('y', 0.0004, True)])
    assert not holds and text.startswith('FAIL x') and 'ok   y' in text
    assert not deviation('x', torch.ones(3), np.ones(2)).holds
    assert not deviation('x', torch.tensor([float('nan')]), np.ones(1)).holds


@pytest.mark.parametrize('stage, matching', [('tracker', 'first_appearance'), ('refiner', 'video')])
def test_losses_agree(stage, matching):
    """Means of 60 draws within four combined standard errors; class losses exact; the matching the same."""
    folder, draws = DATA / 'parity' / 'losses', 60
    arrays, expected = np.load(folder / 'inputs.npz'), json.loads((folder / 'expected.json').read_text())
    logits, masks = (torch.from_numpy(arrays[name]).float() for name in ('pred_logits', 'pred_masks'))
    layers, batch, slots, frames = masks.shape[:4]
    visible = torch.from_numpy(arrays['gt_ids']) != -1
    targets = [ClipTargets(torch.from_numpy(arrays['gt_labels']), torch.arange(1, len(visible) + 1),
                           torch.from_numpy(arrays['gt_masks']), visible)]
    criterion = QuerySetLoss(logits.shape[-1] - 1, matching, num_points=expected["num_points"],
                             legacy_tall_video=stage == 'refiner')
    identity = torch.eye(slots).expand(1, batch, frames, slots, slots)
    for layer in range(layers):  # the features are the masks, which differ from layer to layer
        classes = logits[layer:layer + 1] if stage == 'tracker' else logits[layer:layer + 1, :, :1]
        predictions = LayerPredictions(classes, identity, masks[layer].transpose(1, 2))
        pairs = criterion.match(predictions, targets, StepContext())
        assert [[n, int(q)] for n, q in enumerate(pairs[0][0][0])] == expected[stage]['matching_gt_to_slot']
        values = [criterion(predictions, targets, StepContext(iteration=i)) for i in range(draws)]
        suffix = '' if layer == layers - 1 else f'_{layer}'
        for name, weight, official in (('cls', 2, 'ce'), ('mask', 5, 'mask'), ('dice', 5, 'dice')):
            drawn = np.array([float(v[f'loss_{name}']) for v in values]) / weight
            wanted = expected[stage]['losses'][f'loss_{official}{suffix}']
            tolerance = 1e-4 if name == 'cls' else 4 * math.hypot(drawn.std(ddof=1) / math.sqrt(draws), wanted['stderr'])
            assert abs(drawn.mean() - wanted['mean']) <= tolerance, (stage, layer, name)
