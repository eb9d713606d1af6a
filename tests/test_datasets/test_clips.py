"""Which frames make a clip, and what happens to them."""
import numpy as np
import pytest

from mmdvis.datasets.transforms import CropClip, FlipClip, ResizeClip, SampleClip
from mmdvis.datasets.transforms.clip_geometry import resize_frames, resize_maps


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
    clips = draw(SampleClip(3, frame_range=4, reverse=1.), 20)
    assert all(clip == sorted(clip) and len(set(clip)) == 3 and clip[-1] - clip[0] <= 8 for clip in clips)
    assert any(clip[-1] - clip[0] > 2 for clip in clips)
    assert {frame for clip in clips for frame in clip} == set(range(20))


def test_a_range_that_fits_the_clip_is_consecutive():
    assert all(clip == list(range(clip[0], clip[0] + 5)) for clip in draw(SampleClip(5, frame_range=2), 9))


@pytest.mark.parametrize('options, message', [
    (dict(num_frames=0), 'at least one frame, got num_frames=0'),
    (dict(num_frames=3, frame_range=0), 'frame_range must be at least 1, got 0')])
def test_impossible_clips_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SampleClip(**options)


def clip(size=(12, 20), frames=3):
    rng = np.random.default_rng(0)
    maps = rng.integers(0, 70000, (frames, *size)).astype(np.int32)
    return dict(clip=rng.integers(0, 256, (frames, *size, 3), dtype=np.uint8), maps=maps)


def test_one_flip_for_all_frames():
    np.random.seed(0)
    before, flips = clip(), 0
    for _ in range(40):
        after = FlipClip(0.5).transform(before)
        flipped = np.array_equal(after['maps'], before['maps'][:, :, ::-1])
        assert flipped or np.array_equal(after['maps'], before['maps'])
        assert np.array_equal(after['clip'], before['clip'][:, :, ::-1] if flipped else before['clip'])
        flips += flipped
    assert 8 < flips < 32


def test_one_window_for_all_frames():
    np.random.seed(0)
    before, corners = clip(), set()
    for _ in range(60):
        after = CropClip((8, 11)).transform(before)
        assert after['clip'].shape == (3, 8, 11, 3) and after['maps'].shape == (3, 8, 11)
        top, left = np.argwhere((before['maps'][0] == after['maps'][0, 0, 0]))[0]
        assert np.array_equal(after['maps'], before['maps'][:, top:top + 8, left:left + 11])
        assert np.array_equal(after['clip'], before['clip'][:, top:top + 8, left:left + 11])
        corners.add((top, left))
    assert (4, 9) in corners or len(corners) > 20


def test_small_frames_are_kept_whole():
    assert CropClip((50, 11)).transform(clip())['clip'].shape == (3, 12, 11, 3)


def test_one_size_for_all_frames():
    np.random.seed(0)
    sizes = {ResizeClip([6, 24], 30).transform(clip())['clip'].shape[1:3] for _ in range(20)}
    assert sizes == {(6, 10), (18, 30)}


def test_masks_are_resized_without_new_ids():
    before = clip()
    after = resize_maps(before['maps'], (30, 50))
    assert after.dtype == np.int32 and set(np.unique(after)) <= set(np.unique(before['maps']))
    assert resize_frames(before['clip'], (6, 10)).shape == (3, 6, 10, 3)
