"""Metric rules that the fixtures do not cover, checked by manual counts and on random inputs."""

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
    """Draw id maps of a ground truth video and a prediction, and the classes of their ids."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    gt = rng.integers(0, 5, (frames, 6, 7))
    predicted = np.where(rng.random(gt.shape) < 0.7, gt + 10 * (gt > 0), rng.integers(10, 15, gt.shape))
    classes = {i: int(rng.integers(1, 4)) for i in range(1, 5)}
    predicted_classes = {
        i: classes[i - 10] if i > 10 and rng.random() < 0.8 else int(rng.integers(1, 4)) for i in range(10, 15)
    }
    return gt, classes, predicted, predicted_classes


def tables(video):
    gt, classes, predicted, predicted_classes = video
    return [frame_table(t, listed(t, classes), p, listed(p, predicted_classes)) for t, p in zip(gt, predicted)]


def figures(*found):
    """Return VPQ of windows 1 and 2, then corrected STQ, AQ and SQ, over all given videos."""
    counts = [count_video(tables(v), (1, 2)) for v in found]
    vpq = [sum((c[k] for c in counts), WindowCounts()).mean(IS_THING)[0] for k in (1, 2)]
    return [*vpq, *sum_videos([count_stq(tables(v), IS_THING, 'corrected') for v in found]).summarise()]


@MANY
@given(videos())
def test_names_of_segments_are_of_no_consequence(video):
    gt, classes, predicted, predicted_classes = video
    rename = np.array([0, 40, 20, 90, 30])
    other = (
        rename[gt],
        {int(rename[i]): c for i, c in classes.items()},
        np.where(predicted, predicted * 3 + 100, 0),
        {i * 3 + 100: c for i, c in predicted_classes.items()},
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
    gt, classes, _, _ = video
    values = figures((gt, classes, gt, classes))
    things = any(IS_THING[classes[int(i)]] for i in np.unique(gt) if i)
    assert values[0] == values[1] == values[4] == pytest.approx(1.0, abs=1e-12)
    assert values[3] == pytest.approx(1.0 if things else 0.0, abs=1e-12)


def test_areas_of_the_truth_are_what_the_json_says():
    """The VIPSeg script and panopticapi read areas from the json; the VIPER script counts pixels."""
    gt, predicted = np.full((1, 64, 64), 5), np.full((1, 64, 64), 7)
    predicted[0, :40] = 0
    table = frame_table(gt[0], [dict(id=5, category_id=1, area=2000)], predicted[0], listed(predicted[0], {7: 1}))
    shared = 24 * 64
    for rules, area in ((IMAGE_RULES, 2000), (VIPER_RULES, 64 * 64)):
        counts = count_video([table], (1,), rules)[1].classes.get(1)
        assert counts.iou == pytest.approx(shared / area if shared / area > 0.5 else 0.0)


def test_small_true_tubes_of_viper_are_neither_found_nor_missed():
    gt = np.zeros((64, 64), int)
    gt[:31, :33], gt[40:] = 5, 6  # 1023 and 1536 pixels
    predicted = np.where(gt, gt + 10, 0)
    table = frame_table(gt, listed(gt, {5: 1, 6: 2}), predicted, listed(predicted, {15: 1, 16: 2}))
    counts = count_video([table], (1,), VIPER_RULES)[1].classes
    assert (counts[2].tp, counts[2].fp, counts[2].fn) == (1, 0, 0)
    assert (counts[1].tp, counts[1].fp, counts[1].fn) == (0, 1, 0)


def test_repeated_entries_are_merged_or_the_last_counts():
    ids = np.full((2, 4), 5)
    twice = [dict(id=5, category_id=1, area=3), dict(id=5, category_id=2, area=5)]
    assert frame_table(ids, twice, ids, twice).truth[5].area == 8
    last = frame_table(ids, twice, ids, twice, merge=False).truth[5]
    assert (last.area, last.category) == (5, 2)


def track(*boxes, size=(10, 10)):
    """Return run-length masks of boxes (top, left, bottom, right); None stays None."""
    segmentations = []
    for box in boxes:
        mask = np.zeros(size, np.uint8, order='F')
        if box:
            mask[box[0] : box[2], box[1] : box[3]] = 1
        segmentations.append(coco_mask.encode(mask) if box else None)
    return segmentations


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
    summary = vis_ap.summarize_ap(
        {1: [pair([(box, 0.9), (box, 0.8), (box, 0.7)], [(box, 1), (track((5, 5, 9, 9)), 0)])]}
    )
    assert summary['AP'] == 0.0  # no false positive, and one missed ground truth track
    matched = vis_ap.match(pair([(box, 0.9), (box, 0.8)], [(box, 1)]), vis_ap.AREAS['all'])
    assert matched.num_truth == 0 and matched.ignored.all() and not matched.hit.any()


def test_a_second_detection_is_a_false_positive():
    box = track((0, 0, 4, 4))
    summary = vis_ap.summarize_ap(
        {1: [pair([(box, 0.9), (box, 0.95)], [(box, 0)])], 2: [pair([], [(box, 0)])], 3: [pair([], [])]}
    )
    assert summary['AP'] == pytest.approx(0.5) and summary['AR1'] == pytest.approx(0.5)  # class 3 has no ground truth
    assert vis_ap.per_class_ap({3: [pair([], [])]})[3] != vis_ap.per_class_ap({3: [pair([], [])]})[3]  # NaN


def test_occlusion_is_the_mean_of_the_upper_half():
    levels = ['no_occlusion', 'severe_occlusion', None, 'slight_occlusion']
    assert vis_ap.occlusion_score(levels) == pytest.approx((0.75 + 0.25) / 2)
    assert np.isnan(vis_ap.occlusion_score(None))


def test_consistency_by_hand():
    """Three frames of two pixels, n = 2: the last window is left out; an invalid value counts as wrong."""
    gt = [np.array([[1, 2]], np.uint8)] * 3
    predicted = [np.array([[0, 1]], np.uint8), np.array([[0, 255]], np.uint8), np.array([[5, 5]], np.uint8)]
    counts = vss.count_vss_video(zip(gt, predicted), lengths=(2,), num_classes=3)
    assert counts.consistency == {2: ((2, 1),)}
    assert counts.confusion.tolist() == [[2, 0, 0, 1], [0, 1, 0, 2], [0, 0, 0, 0]]
    summary = vss.summarize_vss(counts)
    assert summary['VC2'] == 0.5 and summary['mIoU'] == pytest.approx((2 / 3 + 1 / 3) / 2)


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
    """The mean of mmseg includes classes that are only predicted."""
    import torch
    from mmseg.evaluation import IoUMetric

    rng = np.random.default_rng(0)
    gt, predicted = rng.integers(1, 4, (2, 8, 9)), rng.integers(0, 5, (2, 8, 9))
    counts = vss.count_vss_video(zip(gt, predicted), (), 5)
    areas = [
        IoUMetric.intersect_and_union(torch.from_numpy(p), torch.from_numpy(t - 1), 5, 255)
        for t, p in zip(gt, predicted)
    ]
    shared, union, _, label = (sum(x) for x in zip(*areas))
    assert vss.summarize_vss(counts)['mIoU'] == pytest.approx(float((shared / union)[label > 0].mean()), abs=1e-6)
    assert vss.summarize_vss(counts)['mIoU_mmseg'] == pytest.approx(float((shared / union).nanmean()), abs=1e-6)
