"""Non-maximum suppression against greedy loops over single boxes."""

import numpy as np
import pytest
import torch
from mmcv.ops import batched_nms, nms, nms_match, soft_nms

from mmdvis.mmcv_ops_fallback import has_compiled_ops
from mmdvis.ops import nms as module
from mmdvis.ops.nms import pairwise_iou

pytestmark = pytest.mark.skipif(has_compiled_ops(), reason='mmcv has compiled operators')


def iou(a, b, offset=0):
    """IoU of two boxes with Python's numbers."""
    width = max(min(a[2], b[2]) - max(a[0], b[0]) + offset, 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]) + offset, 0)
    areas = [(box[2] - box[0] + offset) * (box[3] - box[1] + offset) for box in (a, b)]
    total = sum(areas) - width * height
    return width * height / total if total else float('nan')


def order_of(scores):
    return sorted(range(len(scores)), key=lambda k: (-scores[k], k))


def greedy(boxes, scores, threshold, offset=0):
    kept = []
    for k in order_of(scores):
        if not any(iou(boxes[j], boxes[k], offset) > threshold for j in kept):
            kept.append(k)
    return kept


def soft(boxes, scores, threshold, sigma, min_score, method, offset=0):
    scores, rest, rows, kept = list(scores), list(range(len(boxes))), [], []
    while rest:
        best = max(rest, key=lambda k: (scores[k], -k))
        rest.remove(best)
        kept.append(best)
        rows.append([*boxes[best], scores[best]])
        for k in rest:
            overlap = iou(boxes[best], boxes[k], offset)
            if method == 'gaussian':
                scores[k] *= np.exp(-(overlap**2) / sigma)
            elif overlap >= threshold:
                scores[k] *= 1 - overlap if method == 'linear' else 0
        rest = [k for k in rest if scores[k] >= min_score]
    return rows, kept


def draw(seed, number=None):
    """Boxes on a coarse grid, so that many overlap, some are equal or empty, and scores are tied."""
    rng = np.random.default_rng(seed)
    number = rng.integers(0, 40) if number is None else number
    low = rng.integers(0, 12, (number, 2))
    boxes = np.concatenate([low, low + rng.integers(0, 8, (number, 2))], 1).astype(float)
    scores = rng.integers(1, 12, number) / 12
    return torch.tensor(boxes, dtype=torch.float64), torch.tensor(scores, dtype=torch.float64)


@pytest.mark.parametrize('seed', range(100))
def test_random_sets_with_ties(seed):
    boxes, scores = draw(seed)
    if not len(boxes):
        return
    for threshold in (0.3, 0.5, 0.7):
        for offset in (0, 1):
            dets, kept = nms(boxes, scores, threshold, offset)
            expected = greedy(boxes.tolist(), scores.tolist(), threshold, offset)
            assert kept.tolist() == expected
            assert torch.equal(dets, torch.cat([boxes[expected], scores[expected, None]], 1))
    groups = nms_match(torch.cat([boxes, scores[:, None]], 1), 0.5)
    alive, expected = order_of(scores.tolist()), []
    while alive:
        best, *others = alive
        matched = [k for k in others if iou(boxes[best].tolist(), boxes[k].tolist()) >= 0.5]
        expected.append([best, *matched])
        alive = [k for k in others if k not in matched]
    assert [group.tolist() for group in groups] == expected


@pytest.mark.parametrize('seed', range(100))
@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
def test_soft_suppression(seed, method):
    boxes, scores = draw(seed)
    keeps = (boxes[:, 2:] > boxes[:, :2]).all(1)
    boxes, scores = boxes[keeps], scores[keeps]
    if not len(boxes):
        return
    dets, kept = soft_nms(boxes, scores, 0.3, 0.5, 0.1, method)
    rows, expected = soft(boxes.tolist(), scores.tolist(), 0.3, 0.5, 0.1, method)
    assert kept.tolist() == expected
    torch.testing.assert_close(dets, torch.tensor(rows, dtype=torch.float64))


@pytest.mark.parametrize('number', [255, 256, 257, 700])
def test_blocks_are_joined(number):
    boxes, scores = draw(number, number)
    boxes = boxes * torch.tensor([3.0, 1, 3, 1], dtype=torch.float64)
    assert nms(boxes, scores, 0.4)[1].tolist() == greedy(boxes.tolist(), scores.tolist(), 0.4)


def test_the_examples_of_mmcv():
    """From the docstrings of ``nms``, ``soft_nms`` and ``nms_match``: three, five and three boxes are kept."""
    boxes = torch.tensor(
        [
            [49.1, 32.4, 51.0, 35.9],
            [49.3, 32.9, 51.0, 35.3],
            [49.2, 31.8, 51.0, 35.4],
            [35.1, 11.5, 39.1, 15.7],
            [35.6, 11.8, 39.3, 14.2],
            [35.3, 11.5, 39.9, 14.5],
            [35.2, 11.7, 39.7, 15.7],
        ]
    )
    scores = torch.tensor([0.9, 0.9, 0.5, 0.5, 0.5, 0.4, 0.3])
    assert len(nms(boxes, scores, iou_threshold=0.6)[1]) == 3
    soft_boxes = torch.tensor([[4.0, 3, 5, 3], [4, 3, 5, 4], [3, 1, 3, 1], [3, 1, 3, 1], [3, 1, 3, 1], [3, 1, 3, 1]])
    soft_scores = torch.tensor([0.9, 0.9, 0.5, 0.5, 0.4, 0.0])
    assert len(soft_nms(soft_boxes, soft_scores, iou_threshold=0.6, sigma=0.5)[1]) == 5
    dets = np.array(
        [
            [49.1, 32.4, 51.0, 35.9, 0.9],
            [49.3, 32.9, 51.0, 35.3, 0.9],
            [35.3, 11.5, 39.9, 14.5, 0.4],
            [35.2, 11.7, 39.7, 15.7, 0.3],
        ]
    )
    groups = nms_match(dets.astype(np.float32), 0.6)
    assert [len(group) for group in groups] == [2, 2]


def test_classes_do_not_suppress_each_other():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [1, 0, 11, 10]])
    scores, labels = torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 1, 0])
    _, kept = batched_nms(boxes, scores, labels, dict(type='nms', iou_threshold=0.5))
    assert kept.tolist() == [0, 1]
    _, kept = batched_nms(boxes, scores, labels, dict(type='nms', iou_threshold=0.5, class_agnostic=True))
    assert kept.tolist() == [0]


def test_half_precision_is_computed_in_float32():
    boxes, scores = draw(5, 30)
    kept = nms(boxes.half(), scores.half(), 0.5)[1]
    assert kept.tolist() == greedy(boxes.tolist(), scores.half().double().tolist(), 0.5)


def test_two_empty_boxes_do_not_suppress_each_other():
    boxes = torch.tensor([[3.0, 3, 3, 3], [3, 3, 3, 3]])
    assert pairwise_iou(boxes, boxes, 0).isnan().all()
    assert nms(boxes, torch.tensor([0.5, 0.6]), 0.5)[1].tolist() == [1, 0]


def test_no_boxes():
    empty = torch.zeros(0, 4)
    assert module.nms(empty, torch.zeros(0), 0.5, 0).shape == (0,)
    assert module.softnms(empty, torch.zeros(0), torch.zeros(0, 5), 0.5, 0.5, 0.1, 1, 0).shape == (0,)
    assert module.nms_match(torch.zeros(0, 5), 0.5) == []
