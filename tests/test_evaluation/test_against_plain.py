"""VPQ and STQ compared with plain implementations on sets of pixels, for random videos."""

import math

import numpy as np
import pytest
from helpers.commands import named

from mmdvis.evaluation.functional.frame_table import frame_table
from mmdvis.evaluation.functional.stq import count_stq
from mmdvis.evaluation.functional.vpq import count_video, summarize_vpq

IS_THING = {3: True, 8: True, 11: False, 20: False}
CATEGORIES = list(IS_THING)


def random_video(seed, frames=6, size=(9, 11)):
    """Return id maps and classes of a ground truth video and a prediction; not every id occurs in every frame."""
    rng = np.random.default_rng(seed)
    sides = []
    for count in (6, 7):
        ids = 1 + rng.choice(60000, count, replace=False)
        classes = {int(i): int(rng.choice(CATEGORIES)) for i in ids}
        maps = [rng.choice([0, *ids], size, p=[0.2, *[0.8 / count] * count]) for _ in range(frames)]
        for t in range(1, frames):  # pixels keep their id, so that tubes span several frames
            stay = rng.random(size) < 0.7
            maps[t][stay] = maps[t - 1][stay]
        sides.append((np.stack(maps), classes))
    (gt, classes), (_, predicted_classes) = sides
    overlap = rng.random(gt.shape) < 0.75  # most pixels are predicted correctly, with other ids
    rename = dict(zip(classes, predicted_classes))
    predicted_classes.update(
        {rename[i]: classes[i] if rng.random() < 0.8 else predicted_classes[rename[i]] for i in rename}
    )
    predicted = np.where(overlap, np.vectorize(lambda i: rename.get(i, 0))(gt), sides[1][0])
    return gt, classes, predicted, predicted_classes


def listed(ids, classes):
    return [dict(id=int(i), category_id=classes[int(i)], area=int((ids == i).sum())) for i in np.unique(ids) if i]


def tables_of(video):
    gt, classes, predicted, predicted_classes = video
    return [frame_table(g, listed(g, classes), p, listed(p, predicted_classes)) for g, p in zip(gt, predicted)]


def plain_vpq(video, length):
    """Return class -> [sum of IoU, TP, FP, FN]; a tube is a set of pixels of the window."""
    gt, classes, predicted, predicted_classes = video
    counts = {c: [0.0, 0, 0, 0] for c in CATEGORIES}
    for start in range(len(gt) - length + 1):
        g, p = gt[start : start + length], predicted[start : start + length]
        true_tubes, tubes = ({int(i): x == i for i in np.unique(x) if i} for x in (g, p))
        matched = set()
        for i, mask in true_tubes.items():
            best = None
            for j, other in tubes.items():
                if classes[i] == predicted_classes[j]:
                    union = (mask | other & (g != 0)).sum()
                    iou = (mask & other).sum() / union
                    if iou > 0.5:
                        best = j, iou
            if best is None:
                counts[classes[i]][3] += 1
            else:
                matched.add(best[0])
                counts[classes[i]][0] += best[1]
                counts[classes[i]][1] += 1
        for j, other in tubes.items():
            if j not in matched and (other & (g == 0)).sum() <= 0.5 * other.sum():
                counts[predicted_classes[j]][2] += 1
    return counts


@pytest.mark.parametrize('seed', range(8))
def test_vpq_equals_sets_of_pixels(seed):
    video = random_video(seed)
    counts = count_video(tables_of(video), (1, 2, 4, 6))
    hits = 0
    for length in (1, 2, 4, 6):
        for category, values in plain_vpq(video, length).items():
            counted = counts[length].classes.get(category)
            assert values == pytest.approx(
                [counted.iou, counted.tp, counted.fp, counted.fn] if counted else [0.0, 0, 0, 0]
            )
            hits += values[1]
    assert hits > 5  # the comparison covers true positives


def test_the_summary_is_the_mean_of_its_windows():
    counts = count_video(tables_of(random_video(1)), (1, 2, 4))
    summary = summarize_vpq(counts, IS_THING, *named((1, 2, 4)))
    for suffix, group in (('', CATEGORIES), ('_Th', [3, 8]), ('_St', [11, 20])):
        values = []
        for length in (1, 2, 4):
            present = [c for c in group if c in counts[length].classes]
            qualities = []
            for c in present:
                x = counts[length].classes[c]
                qualities.append(x.iou / (x.tp + x.fp / 2 + x.fn / 2))
            values.append(sum(qualities) / len(qualities))
            assert summary[f'VPQ{length}{suffix}'] == pytest.approx(values[-1])
        assert summary[f'VPQ{suffix}'] == pytest.approx(sum(values) / 3)


def plain_stq(video):
    """Return STQ from class masks (SQ) and tubes (class, id) of things (AQ) over the whole video."""
    gt, classes, predicted, predicted_classes = video
    class_map, predicted_class_map = (
        np.vectorize(lambda i: names.get(int(i), -1))(x) for x, names in ((gt, classes), (predicted, predicted_classes))
    )
    valid = class_map >= 0
    ious = []
    for c in [*CATEGORIES, -1]:
        a, b = (class_map == c) & valid, (predicted_class_map == c) & valid
        if (a | b).any():
            ious.append((a & b).sum() / (a | b).sum())
    total, tubes = 0.0, [i for i in np.unique(gt) if i and IS_THING[classes[int(i)]]]
    things = [j for j in np.unique(predicted) if j and IS_THING[predicted_classes[int(j)]]]
    for i in tubes:
        mask = gt == i
        score = 0.0
        for j in things:
            other = predicted == j
            common = (mask & other).sum()
            score += common * common / (mask | other).sum()
        total += score / mask.sum()
    sq, aq = sum(ious) / len(ious), total / len(tubes)
    return math.sqrt(sq * aq), aq, sq


@pytest.mark.parametrize('seed', range(1, 9))
def test_stq_equals_sets_of_pixels(seed):
    video = random_video(seed)
    assert count_stq(tables_of(video), IS_THING, 'corrected').summarise() == pytest.approx(plain_stq(video))


@pytest.mark.parametrize('order', [(0, 1, 2), (2, 0, 1)])
def test_videos_add_up_in_any_order(order):
    videos = [tables_of(random_video(seed)) for seed in (1, 2, 3)]
    counts = [count_video(videos[k], (1, 2)) for k in order]
    total = counts[0][2] + counts[1][2] + counts[2][2]
    expected = {c: sum(plain_vpq(random_video(seed), 2)[c][1] for seed in (1, 2, 3)) for c in CATEGORIES}
    assert {c: total.classes[c].tp if c in total.classes else 0 for c in CATEGORIES} == expected


def test_a_perfect_prediction_is_perfect():
    gt, classes, _, _ = random_video(4)
    tables = tables_of((gt, classes, gt, classes))
    assert summarize_vpq(count_video(tables, (1, 4)), IS_THING, *named((1, 4)))['VPQ'] == 1.0
    assert count_stq(tables, IS_THING, 'corrected').summarise() == pytest.approx((1.0, 1.0, 1.0))


def test_an_empty_prediction_scores_nothing():
    gt, classes, _, _ = random_video(4)
    tables = tables_of((gt, classes, np.zeros_like(gt), {}))
    summary = summarize_vpq(count_video(tables, (1, 2)), IS_THING, *named((1, 2)))
    assert summary['VPQ'] == 0.0 and count_stq(tables, IS_THING, 'corrected').summarise() == (0.0, 0.0, 0.0)
