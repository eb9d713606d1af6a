"""Frozen query types: shape checks, row selection and joining."""

import weakref
from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from helpers import tiny

from mmdvis.models.trackers import CosineTracker
from mmdvis.structures import ClipTargets, FrameQueries, TrackQueries, cat_time


def tracks(num_frames=3, batch=1, seed=0):
    return CosineTracker()(tiny.frame_queries(num_frames, batch, seed=seed))[0]


def test_shapes_are_compared():
    queries = tiny.frame_queries(3)
    with pytest.raises(ValueError, match='axis T is 3 in embeds and 2 in class_logits'):
        replace(queries, class_logits=queries.class_logits[:, :2])
    with pytest.raises(ValueError, match=r'FrameQueries.present must have the axes BT, got the shape \(1, 3, 1\)'):
        replace(queries, present=queries.present[..., None])


def test_types_are_frozen():
    with pytest.raises(FrozenInstanceError):
        tiny.frame_queries(2).embeds = None


def test_rows_are_selected_together():
    queries = tiny.frame_queries(2)
    order = torch.stack([torch.randperm(tiny.QUERIES), torch.arange(tiny.QUERIES)])[None]
    chosen = queries.select_rows(order)
    for name in ('embeds', 'match_embeds', 'class_logits', 'mask_embeds'):
        assert torch.equal(getattr(chosen, name)[0, 0], getattr(queries, name)[0, 0, order[0, 0]])
    assert chosen.mask_features is queries.mask_features


def test_clips_are_joined_by_id():
    a, b = tracks(2, seed=1), tracks(1, seed=2)
    other = replace(b, ids=b.ids + 2)  # two tracks end, two begin
    joined = cat_time([a, other])
    assert joined.ids.tolist() == list(range(tiny.QUERIES + 2))
    assert joined.valid[0, :2, : tiny.QUERIES].all() and not joined.valid[0, :2, tiny.QUERIES :].any()
    assert not joined.valid[0, 2, :2].any() and joined.valid[0, 2, 2:].all()
    assert torch.equal(joined.embeds[0, 2, 2:], b.embeds[0, 0])
    assert not joined.embeds[0, 2, :2].any()


def test_nothing_cannot_be_joined():
    with pytest.raises(ValueError, match='clips must contain at least one clip'):
        cat_time([])


def test_one_video_of_a_batch():
    both = tracks(4, 2)
    video = both.video(1, 3)
    assert isinstance(video, TrackQueries) and torch.equal(video.embeds[0], both.embeds[1, :3])


def test_targets_from_maps_of_indices():
    maps = torch.tensor([[[[0, 3], [3, 1]], [[0, 0], [1, 1]]]], dtype=torch.uint8)
    targets = ClipTargets.from_index_maps(maps, torch.tensor([3, 5, 7]), torch.tensor([1, 0, 2]), 'clip')
    assert targets.ids.tolist() == [3, 7] and targets.labels.tolist() == [1, 2]  # id 5 has no pixels
    assert targets.masks[0].tolist() == [[[False, False], [False, True]], [[False, False], [True, True]]]
    assert targets.visible.tolist() == [[True, True], [True, False]]
    assert targets.first_frame.tolist() == [0, 0]


def test_a_second_layer_holds_what_overlaps():
    maps = torch.tensor([[[[1, 1, 0]]], [[[0, 2, 2]]]], dtype=torch.int32)
    masks = ClipTargets.from_index_maps(maps, torch.tensor([4, 6]), torch.tensor([0, 0])).masks
    assert masks[:, 0, 0].tolist() == [[True, True, False], [False, True, True]]


def test_ignored_pixels_go_with_their_frame():
    clip = tiny.targets(3)
    ignored = torch.zeros(clip.masks.shape[1:], dtype=torch.bool)
    ignored[1, 5] = True
    frames = replace(clip, ignored=ignored).frames()
    assert [int(frame.ignored.sum()) for frame in frames] == [0, 96, 0]
    with pytest.raises(ValueError, match='axis T is 3 in masks and 2 in ignored'):
        replace(clip, ignored=ignored[:2])


def test_frames_of_targets_hold_who_is_visible():
    frames = tiny.targets(3).frames()  # objects first appear in frames 0, 1 and 2
    assert [frame.ids.tolist() for frame in frames] == [[1], [1, 2], [1, 2, 3]]
    assert all(frame.masks.shape[1] == 1 and frame.visible.all() for frame in frames)


def test_windows_follow_each_other():
    whole = tiny.frame_queries(5)
    parts = (tiny.part(whole, *window) for window in ((0, 2), (2, 3), (3, 5)))
    joined = FrameQueries.of_windows(parts, 5)
    assert all(torch.equal(getattr(joined, name), getattr(whole, name)) for name in FrameQueries.AXES)


def test_windows_of_tracks_are_the_whole():
    whole = tracks(5, batch=2)
    joined = TrackQueries.of_windows((tiny.part(whole, *window) for window in ((0, 2), (2, 3), (3, 5))), 5)
    assert all(torch.equal(getattr(joined, name), getattr(whole, name)) for name in TrackQueries.AXES)


def test_windows_with_other_tracks_are_joined_as_clips_are():
    first, second = tracks(2), tracks(3, seed=1)
    second = second.rows_of(torch.tensor([2, 0, 99]))
    third = tracks(1, seed=2)
    found, expected = TrackQueries.of_windows([first, second, third], 6), cat_time([first, second, third])
    assert all(torch.equal(getattr(found, name), getattr(expected, name)) for name in TrackQueries.AXES)
    with pytest.raises(ValueError, match='windows must contain at least one window'):
        TrackQueries.of_windows([], 3)


def test_a_window_may_be_gone_before_the_next_is_made():
    alive = []

    def windows():
        for start in range(4):
            window = tiny.part(tracks(4), start, start + 1)
            alive.append(weakref.ref(window))
            yield window
            del window
            assert sum(ref() is not None for ref in alive) <= 1  # only the current window

    assert TrackQueries.of_windows(windows(), 4).valid.shape[1] == 4


def test_a_single_clip_is_not_copied():
    clip = tracks()
    assert cat_time([clip]) is clip
