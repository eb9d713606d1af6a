"""VPQ and STQ against plain definitions that count sets of pixels, on random videos."""

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
    """Maps and lists of a true and a predicted video; ids keep their classes, frames lack some of them."""
    rng = np.random.default_rng(seed)
    sides = []
    for count in (6, 7):
        ids = 1 + rng.choice(60000, count, replace=False)
        classes = {int(i): int(rng.choice(CATEGORIES)) for i in ids}
        maps = [rng.choice([0, *ids], size, p=[0.2, *[0.8 / count] * count]) for _ in range(frames)]
        for t in range(1, frames):  # tubes need pixels that stay
            stay = rng.random(size) < 0.7
            maps[t][stay] = maps[t - 1][stay]
        sides.append((np.stack(maps), classes))
    (truth, classes), (_, guesses) = sides
    overlap = rng.random(truth.shape) < 0.75  # most pixels are predicted right, under other ids
    rename = dict(zip(classes, guesses))
    guesses.update({rename[i]: classes[i] if rng.random() < 0.8 else guesses[rename[i]] for i in rename})
    predicted = np.where(overlap, np.vectorize(lambda i: rename.get(i, 0))(truth), sides[1][0])
    return truth, classes, predicted, guesses


def listed(ids, classes):
    return [dict(id=int(i), category_id=classes[int(i)], area=int((ids == i).sum())) for i in np.unique(ids) if i]


def tables_of(video):
    truth, classes, predicted, guesses = video
    return [frame_table(g, listed(g, classes), p, listed(p, guesses)) for g, p in zip(truth, predicted)]


def plain_vpq(video, length):
    """Class -> [sum of IoU, TP, FP, FN]: every tube is a set of pixels of the window."""
    truth, classes, predicted, guesses = video
    found = {c: [0.0, 0, 0, 0] for c in CATEGORIES}
    for start in range(len(truth) - length + 1):
        g, p = truth[start : start + length], predicted[start : start + length]
        true_tubes, tubes = ({int(i): x == i for i in np.unique(x) if i} for x in (g, p))
        matched = set()
        for i, mask in true_tubes.items():
            best = None
            for j, other in tubes.items():
                if classes[i] == guesses[j]:
                    union = (mask | other & (g != 0)).sum()
                    iou = (mask & other).sum() / union
                    if iou > 0.5:
                        best = j, iou
            if best is None:
                found[classes[i]][3] += 1
            else:
                matched.add(best[0])
                found[classes[i]][0] += best[1]
                found[classes[i]][1] += 1
        for j, other in tubes.items():
            if j not in matched and (other & (g == 0)).sum() <= 0.5 * other.sum():
                found[guesses[j]][2] += 1
    return found


@pytest.mark.parametrize('seed', range(8))
def test_vpq_equals_sets_of_pixels(seed):
    video = random_video(seed)
    counts = count_video(tables_of(video), (1, 2, 4, 6))
    hits = 0
    for length in (1, 2, 4, 6):
        for category, values in plain_vpq(video, length).items():
            got = counts[length].classes.get(category)
            assert values == pytest.approx([got.iou, got.tp, got.fp, got.fn] if got else [0.0, 0, 0, 0])
            hits += values[1]
    assert hits > 5  # else nothing was compared


def test_the_summary_is_the_mean_of_its_windows():
    counts = count_video(tables_of(random_video(1)), (1, 2, 4))
    summary = summarize_vpq(counts, IS_THING, *named((1, 2, 4)))
    for suffix, group in (('', CATEGORIES), ('_Th', [3, 8]), ('_St', [11, 20])):
        values = []
        for length in (1, 2, 4):
            seen = [c for c in group if c in counts[length].classes]
            qualities = []
            for c in seen:
                x = counts[length].classes[c]
                qualities.append(x.iou / (x.tp + x.fp / 2 + x.fn / 2))
            values.append(sum(qualities) / len(qualities))
            assert summary[f'VPQ{length}{suffix}'] == pytest.approx(values[-1])
        assert summary[f'VPQ{suffix}'] == pytest.approx(sum(values) / 3)


def plain_stq(video):
    """SQ by class masks, AQ by tubes (class, id) of things, over the whole video."""
    truth, classes, predicted, guesses = video
    class_map, guess_map = (
        np.vectorize(lambda i: names.get(int(i), -1))(x) for x, names in ((truth, classes), (predicted, guesses))
    )
    valid = class_map >= 0
    ious = []
    for c in [*CATEGORIES, -1]:
        a, b = (class_map == c) & valid, (guess_map == c) & valid
        if (a | b).any():
            ious.append((a & b).sum() / (a | b).sum())
    total, tubes = 0.0, [i for i in np.unique(truth) if i and IS_THING[classes[int(i)]]]
    things = [j for j in np.unique(predicted) if j and IS_THING[guesses[int(j)]]]
    for i in tubes:
        mask = truth == i
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
    truth, classes, _, _ = random_video(4)
    tables = tables_of((truth, classes, truth, classes))
    assert summarize_vpq(count_video(tables, (1, 4)), IS_THING, *named((1, 4)))['VPQ'] == 1.0
    assert count_stq(tables, IS_THING, 'corrected').summarise() == pytest.approx((1.0, 1.0, 1.0))


def test_an_empty_prediction_scores_nothing():
    truth, classes, _, _ = random_video(4)
    tables = tables_of((truth, classes, np.zeros_like(truth), {}))
    summary = summarize_vpq(count_video(tables, (1, 2)), IS_THING, *named((1, 2)))
    assert summary['VPQ'] == 0.0 and count_stq(tables, IS_THING, 'corrected').summarise() == (0.0, 0.0, 0.0)
