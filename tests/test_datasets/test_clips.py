"""Sampling and augmentation of clips."""

import numpy as np
import pytest

from mmdvis.datasets.base import train_transforms
from mmdvis.datasets.transforms import CropClip, FlipClip, JitterClip, ResizeClip, RotateClip, SampleClip
from mmdvis.datasets.transforms.geometry import resize_frames, resize_maps
from mmdvis.datasets.transforms.loading import visible_objects


def draw(transform, length, number=400):
    np.random.seed(0)
    return [transform.transform(dict(frames=[None] * length))['frame_indices'] for _ in range(number)]


def test_every_start_occurs_the_last_included():
    clips = draw(SampleClip(3), 7)
    assert {clip[0] for clip in clips} == {0, 1, 2, 3, 4}
    assert all(clip == list(range(clip[0], clip[0] + 3)) for clip in clips)


def test_a_video_of_just_the_length():
    assert draw(SampleClip(4), 4, 3) == [[0, 1, 2, 3]] * 3


def test_short_videos_repeat_frames_in_order():
    for clip in draw(SampleClip(6), 4):
        assert len(clip) == 6 and clip == sorted(clip) and set(clip) == {0, 1, 2, 3}
    assert draw(SampleClip(3), 1, 2) == [[0, 0, 0]] * 2


def test_some_clips_run_backwards():
    clips = draw(SampleClip(3, reverse=0.5), 7)
    backwards = sum(clip == sorted(clip, reverse=True) for clip in clips)
    assert 120 < backwards < 280
    assert all(clip in (sorted(clip), sorted(clip)[::-1]) for clip in clips)


def test_frames_of_a_range():
    clips = draw(SampleClip(3, frame_range=4, reverse=1.0), 20)
    assert all(clip == sorted(clip) and len(set(clip)) == 3 and clip[-1] - clip[0] <= 8 for clip in clips)
    assert any(clip[-1] - clip[0] > 2 for clip in clips)
    assert {frame for clip in clips for frame in clip} == set(range(20))


def test_a_range_that_fits_the_clip_is_consecutive():
    assert all(clip == list(range(clip[0], clip[0] + 5)) for clip in draw(SampleClip(5, frame_range=2), 9))


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(num_frames=0), 'at least one frame, got num_frames=0'),
        (dict(num_frames=3, frame_range=0), 'frame_range must be at least 1, got 0'),
    ],
)
def test_impossible_clips_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SampleClip(**options)


def clip(size=(12, 20), frames=3, layers=1, kind=np.int32):
    rng = np.random.default_rng(0)
    maps = rng.integers(0, 250 if kind == np.uint8 else 70000, (layers, frames, *size)).astype(kind)
    return dict(clip=rng.integers(0, 256, (frames, *size, 3), dtype=np.uint8), maps=maps)


@pytest.mark.parametrize('kind', (np.uint8, np.int32))
def test_one_flip_for_all_frames(kind):
    np.random.seed(0)
    before, flips = clip(layers=2, kind=kind), 0
    for _ in range(40):
        after = FlipClip(0.5).transform(before)
        flipped = np.array_equal(after['maps'], before['maps'][..., ::-1])
        assert flipped or np.array_equal(after['maps'], before['maps'])
        assert np.array_equal(after['clip'], before['clip'][:, :, ::-1] if flipped else before['clip'])
        flips += flipped
    assert 8 < flips < 32


def test_one_window_for_all_frames():
    np.random.seed(0)
    before, corners = clip(), set()
    for _ in range(60):
        after = CropClip((8, 11)).transform(before)
        assert after['clip'].shape == (3, 8, 11, 3) and after['maps'].shape == (1, 3, 8, 11)
        top, left = np.argwhere(before['maps'][0, 0] == after['maps'][0, 0, 0, 0])[0]
        assert np.array_equal(after['maps'], before['maps'][..., top : top + 8, left : left + 11])
        assert np.array_equal(after['clip'], before['clip'][:, top : top + 8, left : left + 11])
        corners.add((top, left))
    assert (4, 9) in corners or len(corners) > 20


def test_small_frames_are_kept_whole():
    assert CropClip((50, 11)).transform(clip())['clip'].shape == (3, 12, 11, 3)


def test_a_crop_of_a_random_size():
    np.random.seed(0)
    shapes = {CropClip(between=(4, 9)).transform(clip())['clip'].shape[1:3] for _ in range(300)}
    assert {height for height, _ in shapes} == {width for _, width in shapes} == set(range(4, 10)) and len(shapes) > 25
    with pytest.raises(ValueError, match='specify either size or between'):
        CropClip()


def test_one_size_for_all_frames():
    np.random.seed(0)
    sizes = {ResizeClip([6, 24], 30).transform(clip())['clip'].shape[1:3] for _ in range(20)}
    assert sizes == {(6, 10), (18, 30)}


@pytest.mark.parametrize('kind', (np.uint8, np.int32))
def test_masks_are_resized_without_new_ids(kind):
    before = clip(layers=2, kind=kind)
    after = resize_maps(before['maps'], (30, 50))
    assert after.dtype == kind and after.shape == (2, 3, 30, 50)
    assert set(np.unique(after)) <= set(np.unique(before['maps']))
    assert resize_frames(before['clip'], (6, 10)).shape == (3, 6, 10, 3)


def test_frames_are_resized_as_pillow_does():
    """Resizing equals the Pillow backend of mmcv, which gives the results of detectron2."""
    import mmcv

    frames = clip((31, 47))['clip']
    for size in ((20, 29), (64, 90)):
        expected = [mmcv.imresize(frame, size[::-1], backend='pillow') for frame in frames]
        assert np.array_equal(resize_frames(frames, size), expected)


def disc(size=(60, 80)):
    rows, columns = np.mgrid[: size[0], : size[1]]
    mask = ((rows - 20) ** 2 + (columns - 60) ** 2 < 64).astype(np.uint8)
    return dict(clip=np.repeat(np.stack([255 * mask] * 3, -1)[None], 5, 0), maps=np.repeat(mask[None, None], 5, 1))


def test_every_frame_turns_by_its_own_angle():
    np.random.seed(1)
    directions = set()
    for _ in range(10):
        after = RotateClip(15.0).transform(disc())
        assert after['clip'].shape == (5, 60, 80, 3) and after['maps'].shape == (1, 5, 60, 80)
        assert set(np.unique(after['maps'])) <= {0, 1} and after['maps'].dtype == np.uint8
        centres = [np.argwhere(frame).mean(0) for frame in after['maps'][0]]
        rows = np.array([row for row, _ in centres])
        assert (np.diff(rows) >= 0).all() or (np.diff(rows) <= 0).all()  # angles are sorted
        directions.add(bool(rows[-1] > rows[0]))
        for frame, mask in zip(after['clip'], after['maps'][0]):
            assert ((frame[..., 0] > 127) != mask).mean() < 0.01  # image and mask move together
    assert directions == {True, False}


def test_turning_by_nothing_changes_nothing():
    before = disc()
    after = RotateClip(0.0).transform(before)
    assert np.array_equal(after['clip'], before['clip']) and np.array_equal(after['maps'], before['maps'])


def test_jitter_gives_a_square_of_a_random_scale():
    np.random.seed(0)
    areas = []
    for _ in range(60):
        after = JitterClip(64, (0.1, 2.0)).transform(dict(disc(), clip=np.full((5, 60, 80, 3), 255, np.uint8)))
        assert after['clip'].shape == (5, 64, 64, 3) and after['maps'].shape == (1, 5, 64, 64)
        padded = (after['clip'][0] == 128).all(-1)
        assert not after['maps'][0, 0][padded].any()
        areas.append(1 - padded.mean())
    assert min(areas) < 0.05 and max(areas) == 1.0


@pytest.mark.parametrize('prob, shape', [(1.0, (16, 16)), (0.0, (16, 27))])
def test_vis_clips_are_cropped_before_the_resize(prob, shape):
    np.random.seed(0)
    steps = train_transforms(
        dict(num_frames=1),
        short_edges=[16],
        crop_first=dict(short_edges=[10], max_edge=40, between=(9, 9), prob=prob),
        flip=0.0,
    )
    shapes = set()
    for _ in range(5):
        results = clip()
        for step in steps[2:-1]:
            results = step.transform(results)
        shapes.add(results['clip'].shape[1:3])
    assert shapes == {shape}


def test_the_order_of_a_recipe():
    steps = train_transforms(
        dict(num_frames=2),
        short_edges=[8],
        crop=dict(size=(4, 4)),
        rotate=dict(angle=5.0),
        crop_first=dict(short_edges=[8], between=(4, 5)),
    )
    assert [type(step).__name__ for step in steps] == [
        'SampleClip',
        'LoadClip',
        'RandomApply',
        'RotateClip',
        'ResizeClip',
        'CropClip',
        'FlipClip',
        'PackClip',
    ]


def test_objects_that_were_cut_away_are_gone():
    maps = np.array([[[[0, 3], [3, 1]]]], np.uint8)
    maps, ids, labels = visible_objects(maps, np.array([7, 8, 9]), np.array([0, 1, 2]))
    assert ids.tolist() == [7, 9] and labels.tolist() == [0, 2] and maps.tolist() == [[[[0, 2], [2, 1]]]]
