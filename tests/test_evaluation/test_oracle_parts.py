"""Oracle substitutions: hand-made errors of one kind cost exactly this kind, and all together give a perfect score."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmdvis.evaluation.functional import oracle_parts, oracle_tracks
from mmdvis.evaluation.functional.frame_table import frame_table
from mmdvis.evaluation.functional.stq import count_stq
from mmdvis.evaluation.functional.vpq import count_video
from mmdvis.evaluation.functional.vss import confusion_of

IS_THING = {1: True, 2: True, 3: False}
ALL = ('false', 'association', 'classes', 'missed', 'masks')


def scene(frames=4):
    """Ids (T, H, W) of two things (10 of class 1, 20 of class 2) over stuff (30 of class 3)."""
    ids = np.full((frames, 12, 24), 30)
    for t in range(frames):
        ids[t, 2:8, 1 + t : 7 + t] = 10
        ids[t, 4:10, 14:20] = 20
    return ids


TRUE = {10: 1, 20: 2, 30: 3}


def tables(predicted, classes, truth=None):
    """Tables of predicted ids (T, H, W); ``classes`` maps id -> class, for all frames or for each of them."""
    truth = scene(len(predicted)) if truth is None else truth

    def segments(ids, names):
        return [dict(id=int(i), category_id=names[int(i)], area=int((ids == i).sum())) for i in np.unique(ids) if i]

    by_frame = classes if isinstance(classes, list) else [classes] * len(predicted)
    return [frame_table(t, segments(t, TRUE), p, segments(p, names)) for t, p, names in zip(truth, predicted, by_frame)]


def vpq(found, windows=(1, 2, 4)):
    counts = count_video(found, windows)
    return [counts[k].mean(IS_THING)[0] for k in windows]


def fixed(found, *parts):
    return oracle_parts.substituted(found, parts)


def test_a_perfect_result_stays_perfect():
    found = tables(scene(), TRUE)
    for part in oracle_parts.SUBSTITUTIONS:
        assert vpq(fixed(found, part)) == [1, 1, 1]


def test_a_wrong_class():
    found = tables(scene(), {10: 2, 20: 2, 30: 3})
    assert vpq(found)[0] == pytest.approx((0 + 1 / 1.5 + 1) / 3)  # class 1 is missed, class 2 has a false positive
    assert vpq(fixed(found, 'classes')) == [1, 1, 1]
    assert vpq(fixed(found, 'association'))[0] == vpq(found)[0] == vpq(fixed(found, 'masks'))[0]


def test_a_switch_of_identity():
    ids = scene()
    ids[2:][ids[2:] == 10] = 11
    found = tables(ids, {**TRUE, 11: 1})
    before = vpq(found)
    assert before[0] == 1 and before[1] < 1 and before[2] < before[1]
    assert vpq(fixed(found, 'association')) == [1, 1, 1]
    assert count_stq(found, IS_THING, 'corrected').summarise()[1] < 1
    assert count_stq(fixed(found, 'association'), IS_THING, 'corrected').summarise() == (1, 1, 1)
    for part in ('classes', 'masks', 'missed', 'false'):
        assert vpq(fixed(found, part)) == before


def test_two_objects_that_exchange_their_ids():
    ids = scene()
    ids[2:] = np.select([ids[2:] == 10, ids[2:] == 20], [20, 10], ids[2:])
    found = tables(ids, [TRUE, TRUE, {10: 2, 20: 1, 30: 3}, {10: 2, 20: 1, 30: 3}])
    assert vpq(found)[0] == 1 and vpq(found)[1] < 1
    assert vpq(fixed(found, 'association')) == [1, 1, 1]


def test_a_mask_that_matches_nothing_stays_with_its_track():
    """Renaming only the frames that match would tear a track apart that was whole before."""
    ids = scene()
    half = (ids[1] == 20) & (np.arange(24) < 18)
    ids[1][half] = 30  # two of six columns remain
    found = tables(ids, TRUE)
    assert vpq(found)[0] < 1 and vpq(fixed(found, 'association')) == vpq(found)
    assert [20 in table.predicted for table in found] == [True] * 4
    for part in oracle_parts.SUBSTITUTIONS:
        changed = fixed(found, part)
        assert all(after >= before - 1e-9 for after, before in zip(vpq(changed), vpq(found)))
        after, before = (count_stq(x, IS_THING, 'corrected').summarise()[1] for x in (changed, found))
        assert after >= before - 1e-9
    renamed = ids.copy()
    renamed[2:][renamed[2:] == 20] = 21
    again = fixed(tables(renamed, {**TRUE, 21: 2}), 'association')
    assert vpq(again) == vpq(found)


def test_a_shifted_mask():
    ids = np.where(scene() == 20, 30, scene())
    ids[:, 4:10, 15:21] = 20
    found = tables(ids, TRUE)
    assert vpq(found)[0] == pytest.approx((1 + 30 / 42 + (288 - 36 - 36 - 6) / (288 - 72 + 6)) / 3)
    assert vpq(fixed(found, 'masks')) == [1, 1, 1]
    assert vpq(fixed(found, 'missed')) == vpq(found) == vpq(fixed(found, 'false'))


def test_a_missed_object_gets_the_id_that_it_has_in_other_frames():
    ids = scene()
    ids[1][ids[1] == 10] = 30
    found = tables(ids, TRUE)
    assert vpq(found)[0] < 1
    assert vpq(fixed(found, 'missed')) == [1, 1, 1]
    never = np.where(scene() == 10, 30, scene())
    assert vpq(fixed(tables(never, TRUE), 'missed')) == [1, 1, 1]


def test_false_positives():
    ids = scene()
    ids[:, 0:2, 20:24] = 77
    found = tables(ids, {**TRUE, 77: 1})
    assert vpq(found)[0] < vpq(fixed(found, 'false'))[0]
    assert vpq(fixed(found, 'false', 'masks')) == [1, 1, 1]
    void = np.where(scene() == 30, 0, scene())
    ids = np.where(void == 0, 0, void)
    ids[:, 0:2, 20:24] = 77
    on_void = tables(ids, {**TRUE, 77: 1}, void)
    assert 77 in fixed(on_void, 'false')[0].predicted  # forgiven on void, so it is no error


@pytest.mark.parametrize('seed', range(20))
def test_all_substitutions_give_a_perfect_score(seed):
    """Random results: pieces of the ground truth with random ids and classes."""
    rng = np.random.default_rng(seed)
    truth = scene(5)
    truth[rng.random(truth.shape) < 0.03] = 0
    ids = np.where(rng.random(truth.shape) < 0.1, rng.integers(0, 6, truth.shape), truth)
    ids[rng.integers(0, 5)] = rng.integers(1, 4)
    ids[:, :, : rng.integers(0, 12)] += 100
    classes = {int(i): int(rng.integers(1, 4)) for i in np.unique(ids)}
    found = tables(ids, classes, truth)
    assert vpq(found)[0] < 1
    assert vpq(fixed(found, *ALL)) == pytest.approx([1, 1, 1])
    assert count_stq(fixed(found, *ALL), IS_THING, 'corrected').summarise() == pytest.approx((1, 1, 1))
    pixels = [sum(table.joint.values()) for table in found]
    for part in ALL:
        changed = fixed(found, part)
        assert [sum(table.joint.values()) for table in changed] == pixels
        assert all({p for _, p in t.joint} <= {0, -1, *t.predicted} for t in changed)


def test_semantic_tables_give_the_confusion_of_the_metric():
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 7, (2, 20, 30)), rng.integers(0, 8, (2, 20, 30))
    truth[truth == 6] = 255
    expected = sum(confusion_of(t, p, 5) for t, p in zip(truth, predicted))
    found = [oracle_parts.semantic_table(t, p, 5) for t, p in zip(truth, predicted)]
    assert np.array_equal(oracle_parts.confusion_of_tables(found, 5), expected)
    parts = [part for part in ALL if part != 'association']
    fixed_tables = oracle_parts.substituted(found, parts)
    confusion = oracle_parts.confusion_of_tables(fixed_tables, 5)
    assert np.array_equal(confusion[:, :5], np.diag(np.diag(confusion))) and np.array_equal(
        confusion.sum(1), expected.sum(1)
    )
    whole = np.full((4, 4), 3)
    wrong = [oracle_parts.semantic_table(whole, np.full((4, 4), 0), 5)]
    assert oracle_parts.confusion_of_tables(oracle_parts.substituted(wrong, ['classes']), 5)[2, 2] == 16


def encoded(mask):
    return coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))


def track(ids, value, category, score=1.0):
    masks = [encoded(frame == value) if (frame == value).any() else None for frame in ids]
    areas = [int((frame == value).sum()) or None for frame in ids]
    return dict(category_id=category, score=score, segmentations=masks, areas=areas, iscrowd=0)


def same(tracks, expected):
    """Whether tracks have the classes and masks of others, in any order."""

    def described(x):
        return sorted((t['category_id'], [m and m['counts'] for m in t['segmentations']].__repr__()) for t in x)

    return described(tracks) == described(expected)


TRUTHS = [track(scene(), 10, 1), track(scene(), 20, 2)]


@pytest.mark.parametrize('part', oracle_tracks.SUBSTITUTIONS)
def test_perfect_tracks_stay_perfect(part):
    assert same(oracle_tracks.substituted(TRUTHS, TRUTHS, [part], (12, 24)), TRUTHS)


def test_each_kind_of_error_of_tracks():
    ids, size = scene(), (12, 24)

    def repaired(found, part):
        return same(oracle_tracks.substituted(found, TRUTHS, [part], size), TRUTHS)

    wrong_class = [track(ids, 10, 2), track(ids, 20, 2)]
    assert not repaired(wrong_class, 'masks') and repaired(wrong_class, 'classes')
    switched = ids.copy()
    switched[3] = np.select([ids[3] == 10, ids[3] == 20], [20, 10], ids[3])
    swapped = [track(switched, 10, 1), track(switched, 20, 2)]
    assert not repaired(swapped, 'classes') and repaired(swapped, 'association')
    small = np.where((ids == 20) & (np.arange(24) < 15), 30, ids)
    assert not repaired([track(small, 10, 1), track(small, 20, 2)], 'association')
    assert repaired([track(small, 10, 1), track(small, 20, 2)], 'masks')
    gap = ids.copy()
    gap[1][gap[1] == 10] = 30
    assert not repaired([track(gap, 10, 1), track(gap, 20, 2)], 'masks')
    assert repaired([track(gap, 10, 1), track(gap, 20, 2)], 'missed') and repaired([track(ids, 20, 2)], 'missed')
    extra = ids.copy()
    extra[:, 0:2, 20:24] = 77
    false = [*TRUTHS, track(extra, 77, 1, 0.3), track(ids, 10, 1, 0.2)]
    assert not repaired(false, 'masks') and repaired(false, 'false')


@pytest.mark.parametrize('truths', [[], [dict(track(scene(), 20, 1), iscrowd=1)]], ids=['none', 'crowd'])
@pytest.mark.parametrize('part', ['association', 'classes', 'masks', 'missed'])
def test_videos_without_objects_keep_their_tracks(truths, part):
    found = [track(scene(), 10, 1)]
    assert same(oracle_tracks.substituted(found, truths, [part], (12, 24)), found)


def test_the_tool_reports_all_three_tasks(tmp_path, monkeypatch, capsys):
    from helpers.commands import load

    tool = load('tools/analysis_tools/analyze_results.py')
    ids, size = scene(), (12, 24)
    gap = ids.copy()
    gap[1][gap[1] == 10] = 30
    videos = [dict(id=1, height=12, width=24, length=4, file_names=[f'v/{k}.jpg' for k in range(4)])]
    categories = [dict(id=1, name='a'), dict(id=2, name='b')]

    def plain(tracks):
        for k, t in enumerate(tracks):
            masks = [m and dict(size=list(size), counts=m['counts'].decode()) for m in t['segmentations']]
            yield dict(t, id=k + 1, video_id=1, segmentations=masks)

    truth = dict(videos=videos, categories=categories, annotations=list(plain(TRUTHS)))
    (tmp_path / 'gt.json').write_text(json.dumps(truth))
    (tmp_path / 'results.json').write_text(json.dumps(list(plain([track(gap, 10, 1), track(gap, 20, 2)]))))
    words = ['analyze_results.py', '--task', 'vis', '--gt-json', str(tmp_path / 'gt.json')]
    words += ['--pred', str(tmp_path / 'results.json'), '--out', str(tmp_path / 'out')]
    monkeypatch.setattr('sys.argv', words)
    assert tool.main() == 0
    losses = json.loads((tmp_path / 'out' / 'analysis.json').read_text())['losses']
    assert losses['as predicted']['AP'] < 1 and losses['missed']['AP'] == losses['all of these']['AP'] == pytest.approx(
        1
    )
    folder = tmp_path / 'vspw' / 'data' / 'v' / 'mask'
    folder.mkdir(parents=True)
    (tmp_path / 'pred' / 'v').mkdir(parents=True)
    from PIL import Image

    for t in range(4):
        name = f'{t:08d}.png'
        Image.fromarray((ids[t] // 10).astype(np.uint8)).save(folder / name)
        Image.fromarray((gap[t] // 10 - 1).astype(np.uint8)).save(tmp_path / 'pred' / 'v' / name)
    (tmp_path / 'val.txt').write_text('v\n')
    words = [
        'analyze_results.py',
        '--task',
        'vss',
        '--gt-dir',
        str(tmp_path / 'vspw'),
        '--names',
        str(tmp_path / 'val.txt'),
    ]
    monkeypatch.setattr('sys.argv', [*words, '--pred', str(tmp_path / 'pred'), '--out', str(tmp_path / 'out')])
    assert tool.main() == 0
    losses = json.loads((tmp_path / 'out' / 'analysis.json').read_text())['losses']
    assert losses['as predicted']['mIoU'] < 1 and losses['missed']['mIoU'] == losses['all of these']['mIoU'] == 1
    monkeypatch.setattr('sys.argv', ['analyze_results.py', '--task', 'vss', '--pred', 'x', '--out', 'y'])
    assert tool.main() == 2
    assert 'error: --task vss needs --gt-dir and --names' in capsys.readouterr().err
