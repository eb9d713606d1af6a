"""VPQ and STQ compared with the scores of the public scripts and with manual counts."""

import json

import numpy as np
import pytest
from helpers.commands import DATA, named
from PIL import Image

from mmdvis.evaluation.functional.frame_table import frame_table, listed, segment_rows
from mmdvis.evaluation.functional.stq import NUMBERINGS, count_stq, sum_videos
from mmdvis.evaluation.functional.vpq import ClassCounts, WindowCounts, check_prediction, count_video, summarize_vpq

WINDOWS = (1, 2, 4, 6, 8)
SET = DATA / 'metrics'


def read(path):
    rgb = np.asarray(Image.open(path)).astype(np.int64)
    return rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]


@pytest.fixture(scope='module')
def official():
    """Frame tables of all videos in the fixture, thing flags, and the scores of the public scripts."""
    root = SET / 'vipseg'
    gt = json.loads((root / 'panoptic_gt_VIPSeg_val.json').read_text())
    predictions = {
        v['video_id']: v['annotations']
        for v in json.loads((root / 'submission' / 'pred.json').read_text())['annotations']
    }
    tables = {}
    for video in gt['annotations']:
        name = video['video_id']
        tables[name] = [
            frame_table(
                read(root / 'panomasksRGB' / name / frame['file_name']),
                frame['segments_info'],
                read(root / 'submission' / 'pan_pred' / name / frame['file_name'].replace('.jpg', '.png')),
                prediction['segments_info'],
            )
            for frame, prediction in zip(video['annotations'], predictions[name])
        ]
    is_thing = {c['id']: c['isthing'] == 1 for c in gt['categories']}
    return tables, is_thing, json.loads((SET / 'expected.json').read_text())


def total_of(tables):
    total = {k: WindowCounts() for k in WINDOWS}
    for video in tables.values():
        for k, counts in count_video(video, WINDOWS).items():
            total[k] += counts
    return total


def test_vpq_equals_the_script(official):
    tables, is_thing, expected = official
    total = total_of(tables)
    groups = dict(
        All=list(is_thing), Things=[c for c in is_thing if is_thing[c]], Stuff=[c for c in is_thing if not is_thing[c]]
    )
    for k in WINDOWS:
        for name, categories in groups.items():
            reference = expected['vpq_vipseg']['per_window'][str(k)][name]
            assert total[k].mean(categories) == pytest.approx([reference[x] for x in ('pq', 'sq', 'rq')], abs=1e-9)
    summary = summarize_vpq(total, is_thing, *named((1, 2, 4, 6)))
    reference = expected['vpq_vipseg']['VPQ_1246']
    for key, name in (('VPQ', 'All'), ('VPQ_Th', 'Things'), ('VPQ_St', 'Stuff')):
        assert summary[key] == pytest.approx(reference[name] / 100, abs=1e-9)
    script = expected['vpq_vipseg']['script_as_is_final_12468']['vpq_all'] / 100
    # the script rounds its scores
    assert summarize_vpq(total, is_thing, *named(WINDOWS))['VPQ'] == pytest.approx(script, abs=1e-6)


def test_vpq_of_every_video_equals_the_script(official):
    tables, _, expected = official
    for name, reference in expected['vpq_vipseg']['per_video'].items():
        for k, counts in count_video(tables[name], (1, 2, 4, 6)).items():
            counted = {str(c): [x.iou, x.tp, x.fp, x.fn] for c, x in counts.classes.items() if x.tp + x.fp + x.fn}
            assert counted.keys() == reference[f'k{k}'].keys()
            for category, values in reference[f'k{k}'].items():
                assert counted[category] == pytest.approx(values, abs=1e-9)


@pytest.mark.parametrize(
    'numbering, key',
    zip(NUMBERINGS, ('official_script', 'instance_numbers_from_1', 'instance_numbers_from_1_crowd_is_0')),
)
def test_stq_equals_the_script(official, numbering, key):
    tables, is_thing, expected = official
    counts = [count_stq(video, is_thing, numbering) for video in tables.values()]
    reference = expected['stq_vipseg'][key]
    assert sum_videos(counts).summarise() == pytest.approx([reference[x] for x in ('STQ', 'AQ', 'SQ')], abs=1e-9)
    assert sum_videos(counts).num_tubes == reference['gt_tubes']


def test_videos_are_checked(official):
    tables, is_thing, _ = official
    for name, video in tables.items():
        for table in video:
            check_prediction(table, is_thing, name)


# Manual cases: one row of ten pixels; thing 1 has class 0, stuff 2 has class 5.
THING = {0: True, 5: False}
TRUTH = [dict(id=1, category_id=0, area=6), dict(id=2, category_id=5, area=3)]
TRUE = np.array([[1] * 6 + [2] * 3 + [0]])


def table(predicted, segments=None, true=TRUE, truth=TRUTH):
    segments = segments or [dict(id=7, category_id=0), dict(id=8, category_id=5)]
    return frame_table(true, truth, np.array([predicted]), segments)


def test_void_is_taken_out_of_the_union():
    counts = count_video([table([7] * 5 + [8] * 4 + [7])], (1,))[1].classes
    # 5 shared, 6 ground truth and 6 predicted pixels, one of them on void
    assert counts[0] == ClassCounts(iou=5 / 6, tp=1)
    assert counts[5] == ClassCounts(iou=3 / 4, tp=1)


def test_half_is_not_enough():
    counts = count_video([table([7] * 3 + [0] * 3 + [8] * 4)], (1,))[1].classes
    assert counts[0] == ClassCounts(fp=1, fn=1)  # the IoU is exactly 0.5


def test_a_prediction_mostly_on_void_is_forgiven():
    true = np.array([[1] * 4 + [0] * 6])
    segments, gt = [dict(id=7, category_id=0), dict(id=8, category_id=5)], [dict(id=1, category_id=0, area=4)]
    forgiven = count_video([table([7] * 4 + [8] * 6, segments, true, gt)], (1,))[1].classes
    assert forgiven == {0: ClassCounts(iou=1.0, tp=1)}
    blamed = count_video([table([8] * 5 + [7] * 5, segments, true, gt)], (1,))[1].classes
    assert blamed[5] == ClassCounts(fp=1)


def test_a_switched_identity_costs_in_longer_windows_only():
    good, switched = (
        table([7] * 6 + [8] * 4),
        table([9] * 6 + [8] * 4, [dict(id=9, category_id=0), dict(id=8, category_id=5)]),
    )
    counts = count_video([good, switched], (1, 2, 4))
    assert counts[1].classes[0] == ClassCounts(iou=2.0, tp=2)
    assert counts[2].classes[0] == ClassCounts(fp=2, fn=1)
    assert counts[4].classes == {}  # the video is shorter than the window


def test_a_class_that_never_occurs_is_left_out():
    counts = WindowCounts({0: ClassCounts(iou=1.0, tp=1), 3: ClassCounts()})
    assert counts.mean([0, 3, 9]) == (1.0, 1.0, 1.0)
    assert all(np.isnan(x) for x in counts.mean([3]))


def test_stq_by_hand():
    tables = [
        table([7] * 6 + [8] * 3 + [0]),
        table([9] * 6 + [8] * 3 + [0], [dict(id=9, category_id=0), dict(id=8, category_id=5)]),
    ]
    stq, aq, sq = count_stq(tables, THING, 'corrected').summarise()
    assert sq == 1.0 and aq == pytest.approx(2 * (6 / 12) * (6 / 12)) and stq == pytest.approx(aq**0.5)


def test_the_official_numbering_loses_the_thing_that_is_listed_first():
    tables = [table([7] * 6 + [8] * 3 + [0])]
    assert count_stq(tables, THING, 'official').num_tubes == 0
    assert count_stq(tables, THING, 'corrected').num_tubes == 1
    with pytest.raises(ValueError, match="numbering must be one of .*got 'new'"):
        count_stq(tables, THING, 'new')


def test_void_predicted_on_valid_truth_is_a_class_of_its_own():
    _, _, sq = count_stq([table([7] * 6 + [0] * 4, [dict(id=7, category_id=0)])], THING).summarise()
    assert sq == pytest.approx((1 + 0 + 0) / 3)


@pytest.mark.parametrize(
    'predicted, segments, message',
    [
        (
            [7] * 6 + [3] * 4,
            [dict(id=7, category_id=0)],
            r'4 predicted pixels have an id \(for example 3\) that is not listed in segments_info',
        ),
        (
            [7] * 10,
            [dict(id=7, category_id=0), dict(id=8, category_id=5)],
            'lists id 8, but no predicted pixel has this id',
        ),
        ([7] * 10, [dict(id=7, category_id=77)], 'predicted category 77 of id 7 is not in the category list'),
    ],
)
def test_predictions_that_disagree_with_themselves(predicted, segments, message):
    with pytest.raises(ValueError, match=f'video v, frame 3: .*{message}'):
        check_prediction(table(predicted, segments), THING, 'video v, frame 3')


def test_maps_of_other_sizes_are_refused():
    with pytest.raises(ValueError, match=r'the prediction is \(1, 9\) .* the ground truth \(1, 10\)'):
        table([7] * 9)


def test_repeated_entries_are_one_segment():
    entry = listed([dict(id=3, category_id=1, area=4), dict(id=3, category_id=2, area=5, iscrowd=1)])[3]
    assert (entry.category, entry.last_category, entry.area, entry.is_crowd) == (1, 2, 9, False)


def test_places_of_unlisted_ids():
    for wide in (0, 1 << 24):  # by a lookup table, and by a sorted search
        assert segment_rows(np.array([[5, 0], [9, 7 + wide]]), [0, 9, 5]).tolist() == [3, 1, 2, 0]
