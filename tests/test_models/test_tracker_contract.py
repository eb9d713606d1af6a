"""Contract of every registered tracker."""

import io

import pytest
import torch
from helpers import tiny

from mmdvis.registry import MODELS

NAMES = sorted(tiny.TRACKERS)


def build(name):
    torch.manual_seed(0)
    return MODELS.build(tiny.TRACKERS[name]).eval()


def same(a, b, names=('class_logits', 'mask_embeds', 'embeds', 'mask_bias', 'valid', 'ids', 'context')):
    for name in names:
        torch.testing.assert_close(
            getattr(a, name), getattr(b, name), rtol=1e-4, atol=1e-5, msg=lambda m: f'{name}: {m}'
        )


def states_equal(a, b):
    assert type(a) is type(b)
    for name in a.__dataclass_fields__:
        torch.testing.assert_close(getattr(a, name), getattr(b, name), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def in_clips(tracker, queries, cuts, state=None):
    from mmdvis.structures import cat_time

    clips = []
    for start, stop in zip(cuts, cuts[1:]):
        tracks, state = tracker(tiny.part(queries, start, stop), state)
        clips.append(tracks)
    return cat_time(clips), state


def test_every_registered_tracker_is_under_contract():
    from mmdvis.models import trackers

    covered = {config['type'] for config in tiny.TRACKERS.values()}
    assert covered == set(trackers.__all__)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('cuts', [(0, 1, 2, 3, 4, 5, 6), (0, 4, 6), (0, 5, 6)])
def test_clip_length_does_not_matter(name, cuts):
    tracker, queries = build(name), tiny.frame_queries(6)
    whole, end = in_clips(tracker, queries, (0, 6))
    clips, state = in_clips(tracker, queries, cuts)
    same(whole, clips)
    states_equal(end, state)


@pytest.mark.parametrize('name', NAMES)
def test_two_videos_may_be_interleaved(name):
    tracker = build(name)
    first, second = tiny.frame_queries(4, seed=1), tiny.frame_queries(4, seed=2)
    alone = [in_clips(tracker, video, (0, 2, 4))[0] for video in (first, second)]
    with torch.no_grad():
        a1, state_a = tracker(tiny.part(first, 0, 2))
        b1, state_b = tracker(tiny.part(second, 0, 2))
        a2, _ = tracker(tiny.part(first, 2, 4), state_a)
        b2, _ = tracker(tiny.part(second, 2, 4), state_b)
    from mmdvis.structures import cat_time

    same(alone[0], cat_time([a1, a2]))
    same(alone[1], cat_time([b1, b2]))


@pytest.mark.parametrize('name', NAMES)
def test_a_batch_of_different_lengths_equals_one_by_one(name):
    tracker, lengths = build(name), [6, 3]
    both = tiny.frame_queries(6, batch=2, lengths=lengths)
    together, _ = in_clips(tracker, both, (0, 2, 4, 6))
    for b, length in enumerate(lengths):
        alone, _ = in_clips(tracker, tiny.part(both, 0, length, slice(b, b + 1)), (0, length))
        same(alone, together.video(b, length))
        assert not together.valid[b, length:].any()


@pytest.mark.parametrize('name', NAMES)
def test_padding_frames_change_nothing(name):
    tracker = build(name)
    padded = tiny.frame_queries(6, lengths=[4])
    _, after_padding = in_clips(tracker, padded, (0, 3, 6))
    _, after = in_clips(tracker, tiny.part(padded, 0, 4), (0, 3, 4))
    states_equal(after, after_padding)


@pytest.mark.parametrize('name', NAMES)
def test_a_state_can_be_saved_and_loaded(name):
    tracker, queries = build(name), tiny.frame_queries(4)
    with torch.no_grad():
        _, state = tracker(tiny.part(queries, 0, 2))
    file = io.BytesIO()
    torch.save({field: getattr(state, field) for field in state.__dataclass_fields__}, file)
    file.seek(0)
    loaded = type(state)(**torch.load(file, weights_only=True))
    with torch.no_grad():
        same(tracker(tiny.part(queries, 2, 4), state)[0], tracker(tiny.part(queries, 2, 4), loaded)[0])


@pytest.mark.parametrize('name', NAMES)
def test_a_state_is_never_written_in_place(name):
    tracker, queries = build(name), tiny.frame_queries(4)
    with torch.no_grad():
        _, state = tracker(tiny.part(queries, 0, 2))
        before = {field: getattr(state, field).clone() for field in state.__dataclass_fields__}
        tracker(tiny.part(queries, 2, 4), state)
    for field, value in before.items():
        assert torch.equal(value, getattr(state, field))


@pytest.mark.parametrize('name', NAMES)
def test_a_video_cannot_begin_without_a_frame(name):
    with pytest.raises(ValueError, match='the first clip of a video must have at least one present frame'):
        build(name)(tiny.frame_queries(3, batch=2, lengths=[3, 0]))
