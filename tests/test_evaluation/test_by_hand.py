"""Rules that the fixtures do not hold, counted by hand, and promises for all inputs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from mmdvis.evaluation.functional import vis_ap, vss
from mmdvis.evaluation.functional.frame_table import frame_table
from mmdvis.evaluation.functional.stq import count_stq, sum_videos
from mmdvis.evaluation.functional.vpq import IMAGE_RULES, VIPER_RULES, WindowCounts, count_video

IS_THING = {1: True, 2: True, 3: False}
MANY = settings(max_examples=40, deadline=None)


def listed(ids, classes, **more):
    return [
        dict(id=int(i), category_id=classes[int(i)], area=int((ids == i).sum()), **more) for i in np.unique(ids) if i
    ]


@st.composite
def videos(draw, frames=4):
    """Maps of a true and a predicted video and the classes of their ids."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    truth = rng.integers(0, 5, (frames, 6, 7))
    predicted = np.where(rng.random(truth.shape) < 0.7, truth + 10 * (truth > 0), rng.integers(10, 15, truth.shape))
    classes = {i: int(rng.integers(1, 4)) for i in range(1, 5)}
    guesses = {i: classes[i - 10] if i > 10 and rng.random() < 0.8 else int(rng.integers(1, 4)) for i in range(10, 15)}
    return truth, classes, predicted, guesses


def tables(video):
    truth, classes, predicted, guesses = video
    return [frame_table(t, listed(t, classes), p, listed(p, guesses)) for t, p in zip(truth, predicted)]


def figures(*found):
    """VPQ of windows 1 and 2, and corrected STQ, of some videos."""
    counts = [count_video(tables(v), (1, 2)) for v in found]
    vpq = [sum((c[k] for c in counts), WindowCounts()).mean(IS_THING)[0] for k in (1, 2)]
    return [*vpq, *sum_videos([count_stq(tables(v), IS_THING, 'corrected') for v in found]).summarise()]


@MANY
@given(videos())
def test_names_of_segments_are_of_no_consequence(video):
    truth, classes, predicted, guesses = video
    rename = np.array([0, 40, 20, 90, 30])
    other = (
        rename[truth],
        {int(rename[i]): c for i, c in classes.items()},
        np.where(predicted, predicted * 3 + 100, 0),
        {i * 3 + 100: c for i, c in guesses.items()},
    )
    assert figures(video) == pytest.approx(figures(other), abs=1e-12, nan_ok=True)


@MANY
@given(videos(), videos(), videos())
def test_videos_may_come_in_any_order_and_be_counted_apart(a, b, c):
    assert figures(a, b, c) == pytest.approx(figures(c, a, b), abs=1e-12, nan_ok=True)
    parts = [count_video(tables(v), (1,)) for v in (a, b, c)]
    first, rest = parts[0][1], parts[1][1] + parts[2][1]
    assert (first + rest).mean(IS_THING) == pytest.approx(
        sum((p[1] for p in parts), WindowCounts()).mean(IS_THING), abs=1e-12, nan_ok=True
    )


@MANY
@given(videos())
def test_the_truth_is_perfect(video):
    truth, classes, _, _ = video
    found = figures((truth, classes, truth, classes))
    things = any(IS_THING[classes[int(i)]] for i in np.unique(truth) if i)
    assert found[0] == found[1] == found[4] == pytest.approx(1.0, abs=1e-12)
    assert found[3] == pytest.approx(1.0 if things else 0.0, abs=1e-12)


def test_areas_of_the_truth_are_what_the_json_says():
    """VIPSeg's script and panopticapi; VIPER's counts pixels."""
    truth, predicted = np.full((1, 64, 64), 5), np.full((1, 64, 64), 7)
    predicted[0, :40] = 0
    table = frame_table(truth[0], [dict(id=5, category_id=1, area=2000)], predicted[0], listed(predicted[0], {7: 1}))
    shared = 24 * 64
    for rules, area in ((IMAGE_RULES, 2000), (VIPER_RULES, 64 * 64)):
        found = count_video([table], (1,), rules)[1].classes.get(1)
        assert found.iou == pytest.approx(shared / area if shared / area > 0.5 else 0.0)


def test_small_true_tubes_of_viper_are_neither_found_nor_missed():
    truth = np.zeros((64, 64), int)
    truth[:31, :33], truth[40:] = 5, 6  # 1023 and 1536 pixels
    guess = np.where(truth, truth + 10, 0)
    table = frame_table(truth, listed(truth, {5: 1, 6: 2}), guess, listed(guess, {15: 1, 16: 2}))
    found = count_video([table], (1,), VIPER_RULES)[1].classes
    assert (found[2].tp, found[2].fp, found[2].fn) == (1, 0, 0)
    assert (found[1].tp, found[1].fp, found[1].fn) == (0, 1, 0)


def test_repeated_entries_are_merged_or_the_last_counts():
    ids = np.full((2, 4), 5)
    twice = [dict(id=5, category_id=1, area=3), dict(id=5, category_id=2, area=5)]
    assert frame_table(ids, twice, ids, twice).truth[5].area == 8
    last = frame_table(ids, twice, ids, twice, merge=False).truth[5]
    assert (last.area, last.category) == (5, 2)


def track(*boxes, size=(10, 10)):
    """Run-length masks of boxes (top, left, bottom, right), None where there is none."""
    found = []
    for box in boxes:
        mask = np.zeros(size, np.uint8, order='F')
        if box:
            mask[box[0] : box[2], box[1] : box[3]] = 1
        found.append(coco_mask.encode(mask) if box else None)
    return found


def test_track_iou_is_of_the_whole_track():
    a, b = track((0, 0, 2, 2), None, (0, 0, 4, 4)), track((0, 0, 2, 4), (0, 0, 1, 1), (0, 0, 4, 4))
    assert vis_ap.track_ious([a], [b])[0, 0] == pytest.approx((4 + 0 + 16) / (8 + 1 + 16))


def pair(detections, truths):
    truths = [
        dict(segmentations=t, areas=[float(coco_mask.area(m)) if m else None for m in t], iscrowd=c) for t, c in truths
    ]
    return vis_ap.make_pair((10, 10), truths, [dict(score=s, segmentations=t) for t, s in detections])


def test_crowds_take_any_number_of_detections_and_none_counts():
    box = track((0, 0, 4, 4))
    found = vis_ap.summarize_ap({1: [pair([(box, 0.9), (box, 0.8), (box, 0.7)], [(box, 1), (track((5, 5, 9, 9)), 0)])]})
    assert found['AP'] == 0.0  # no false positive, and one true track that nobody found
    matched = vis_ap.match(pair([(box, 0.9), (box, 0.8)], [(box, 1)]), vis_ap.AREAS['all'])
    assert matched.num_truth == 0 and matched.ignored.all() and not matched.hit.any()


def test_a_second_detection_is_a_false_positive():
    box = track((0, 0, 4, 4))
    found = vis_ap.summarize_ap(
        {1: [pair([(box, 0.9), (box, 0.95)], [(box, 0)])], 2: [pair([], [(box, 0)])], 3: [pair([], [])]}
    )
    assert found['AP'] == pytest.approx(0.5) and found['AR1'] == pytest.approx(0.5)  # class 3 has nothing to find
    assert vis_ap.per_class_ap({3: [pair([], [])]})[3] != vis_ap.per_class_ap({3: [pair([], [])]})[3]  # NaN


def test_occlusion_is_the_mean_of_the_upper_half():
    levels = ['no_occlusion', 'severe_occlusion', None, 'slight_occlusion']
    assert vis_ap.occlusion_score(levels) == pytest.approx((0.75 + 0.25) / 2)
    assert np.isnan(vis_ap.occlusion_score(None))


def test_consistency_by_hand():
    """Three frames of two pixels, n = 2: the last window is left out; a stray value counts as a miss."""
    truth = [np.array([[1, 2]], np.uint8)] * 3
    predicted = [np.array([[0, 1]], np.uint8), np.array([[0, 255]], np.uint8), np.array([[5, 5]], np.uint8)]
    counts = vss.count_vss_video(zip(truth, predicted), lengths=(2,), num_classes=3)
    assert counts.consistency == {2: ((2, 1),)}
    assert counts.confusion.tolist() == [[2, 0, 0, 1], [0, 1, 0, 2], [0, 0, 0, 0]]
    found = vss.summarize_vss(counts)
    assert found['VC2'] == 0.5 and found['mIoU'] == pytest.approx((2 / 3 + 1 / 3) / 2)


@MANY
@given(st.integers(0, 10**6), st.integers(2, 5))
def test_run_lengths_equal_comparing_every_window(seed, length):
    rng = np.random.default_rng(seed)
    frames = [(rng.integers(0, 3, (3, 4)), rng.integers(0, 3, (3, 4))) for _ in range(8)]
    frames = [f if rng.random() < 0.4 or not k else frames[k - 1] for k, f in enumerate(frames)]
    expected = []
    for start in range(len(frames) - length):
        clip = frames[start : start + length]
        same = [np.all([x[side] == clip[0][side] for x in clip], 0) for side in (0, 1)]
        expected.append((int(same[0].sum()), int((same[0] & same[1]).sum())))
    assert list(vss.count_vss_video(frames, (length,), 3).consistency[length]) == expected


def test_mean_iou_equals_mmseg():
    """The second library; its mean takes in classes that are only predicted."""
    import torch
    from mmseg.evaluation import IoUMetric

    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(1, 4, (2, 8, 9)), rng.integers(0, 5, (2, 8, 9))
    counts = vss.count_vss_video(zip(truth, predicted), (), 5)
    areas = [
        IoUMetric.intersect_and_union(torch.from_numpy(p), torch.from_numpy(t - 1), 5, 255)
        for t, p in zip(truth, predicted)
    ]
    shared, union, _, label = (sum(x) for x in zip(*areas))
    assert vss.summarize_vss(counts)['mIoU'] == pytest.approx(float((shared / union)[label > 0].mean()), abs=1e-6)
    assert vss.summarize_vss(counts)['mIoU_mmseg'] == pytest.approx(float((shared / union).nanmean()), abs=1e-6)
