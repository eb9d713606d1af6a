"""Cuts between scenes, and the division of clips at them."""

import numpy as np
import pytest
import torch

from mmdvis.datasets.toy.scene import draw_scene, render
from mmdvis.io import CutDetector, split_at_cuts
from mmdvis.io.scene_cuts import histogram


def scene(seed, number):
    rng = np.random.default_rng(seed)
    drawn = draw_scene(rng)
    return [render(drawn, t, rng)[0] for t in range(number)]


def pan(number, seed=0):
    """A wide picture that is shifted quickly, as by a moving camera."""
    rng = np.random.default_rng(seed)
    wide = np.kron(rng.integers(0, 255, (6, 40, 3)), np.ones((12, 12, 1))).astype(np.uint8)
    return [wide[:, 10 * t : 10 * t + 96] for t in range(number)]


def cuts_of(frames):
    detector = CutDetector()
    for frame in frames:
        detector.push(frame)
    return detector.cuts


def test_a_histogram_by_hand():
    frame = np.zeros((4, 8, 3), np.uint8)
    frame[:, 4:] = 255, 0, 32  # bins 7, 0 and 1 of 8
    shares = histogram(frame)
    assert shares[0] == 0.5 and shares[(7 * 8 + 0) * 8 + 1] == 0.5 and shares.sum() == 1


@pytest.mark.parametrize('frames', [scene(0, 20), scene(5, 20), pan(20)], ids=['scene', 'other scene', 'pan'])
def test_one_scene_has_no_cut(frames):
    assert cuts_of(frames) == []


def flat(colour, number):
    return [np.full((30, 40, 3), colour, np.uint8)] * number


def test_cuts_are_found_where_they_are():
    assert cuts_of([*flat(20, 7), *flat(200, 3), *flat(90, 4)]) == [7, 10]
    assert cuts_of([*pan(8), *pan(8, seed=3)[:5], *flat(9, 2)]) in ([8, 13], [13])


def test_a_slow_fade_is_no_cut():
    assert cuts_of([np.full((30, 40, 3), (t // 4, 255 - t // 4, 128), np.uint8) for t in range(0, 30)]) == []


@pytest.mark.parametrize('divide', [True, False])
def test_clips_are_divided_at_cuts(divide):
    frames = [*flat(20, 5), *flat(200, 4), *flat(90, 3)]
    video = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)
    clips = [video[0:4], video[4:8], video[8:12]]
    detector = CutDetector()
    parts = list(split_at_cuts(clips, detector, divide))
    assert detector.cuts == [5, 9] and torch.equal(torch.cat([part for _, part in parts]), video)
    lengths = [(is_new, len(part)) for is_new, part in parts]
    if divide:
        assert lengths == [(False, 4), (False, 1), (True, 3), (False, 1), (True, 3)]
    else:
        assert lengths == [(False, 4), (False, 4), (False, 4)]
