"""The toy videos are reproducible, have the layout of VIPSeg, and are hard to track."""

import hashlib
import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from mmdvis.datasets.toy.scene import SHAPES, STUFF, STUFF_ID, SceneOptions, draw_group, draw_scene, inside, render
from mmdvis.datasets.toy.videos import category_of, toy_segments, write_toy_videos
from mmdvis.datasets.transforms.ground_truth import read_id_map

SMALL = SceneOptions(size=(48, 80), num_frames=4)


def digest(root):
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob('*'))
        if p.is_file()
    }


def test_same_seed_same_bytes(tmp_path):
    for name, seed, workers in (('a', 1, 1), ('b', 1, 2), ('c', 2, 1)):
        write_toy_videos(tmp_path / name, seed, 2, 1, SMALL, workers, progress=False)
    a, b, c = (digest(tmp_path / name) for name in 'abc')
    assert a == b and len(a) == 2 + 3 * 4 * 2
    assert a != c and a.keys() == c.keys()


def test_json_says_what_the_maps_hold(toy_root):
    content = json.loads((toy_root / 'panoptic_gt_VIPSeg_val.json').read_text())
    kinds = {c['id']: c['isthing'] for c in content['categories']}
    assert sum(kinds.values()) >= 6 and len(kinds) - sum(kinds.values()) >= 4
    for video in content['annotations']:
        for frame in video['annotations']:
            ids = read_id_map(toy_root / 'panomasksRGB' / video['video_id'] / frame['file_name'])
            segments = {s['id']: s for s in frame['segments_info']}
            areas = dict(zip(*np.unique(ids, return_counts=True)))
            areas.pop(0, None)
            assert {k: s['area'] for k, s in segments.items()} == areas
            for segment_id, s in segments.items():
                x, y, width, height = s['bbox']
                rows, columns = np.nonzero(ids == segment_id)
                assert (columns.min(), rows.min()) == (x, y)
                assert (columns.max() - x + 1, rows.max() - y + 1) == (width, height)
                assert kinds[s['category_id']] == (segment_id < STUFF_ID)


def test_frames_have_the_size_of_their_masks(toy_root):
    image = Image.open(toy_root / 'images' / 'val_0000' / '00000003.jpg')
    mask = Image.open(toy_root / 'panomasksRGB' / 'val_0000' / '00000003.png')
    assert image.size == mask.size == (96, 64) and image.mode == mask.mode == 'RGB'


def scenes(number=40):
    return [draw_scene(np.random.default_rng(seed)) for seed in range(number)]


def test_videos_are_long_and_hold_look_alikes_that_cross():
    assert SceneOptions().num_frames >= 20
    crossings = 0
    for scene in scenes():
        by_shape = Counter(thing.shape for thing in scene.things)
        assert max(by_shape.values()) >= 2
        for a in range(len(scene.things)):
            for b in range(a):
                first, second = scene.things[a], scene.things[b]
                if first.shape == second.shape:
                    order = [first.place(t)[0] < second.place(t)[0] for t in range(scene.options.num_frames)]
                    crossings += sum(x != y for x, y in zip(order, order[1:]))
    assert crossings > 5 * 40  # several per video on average


def test_objects_vanish_for_long_and_come_back():
    gaps = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        scene = draw_scene(rng)
        visible = np.array(
            [
                [(ids == k + 1).any() for k in range(len(scene.things))]
                for ids in (render(scene, t, rng)[1] for t in range(scene.options.num_frames))
            ]
        )
        for track in visible.T:
            here = np.flatnonzero(track)
            gaps += [int(gap) - 1 for gap in np.diff(here) if gap > 1]
    assert len(gaps) >= 12 and max(gaps) >= 5


def test_look_alikes_differ_a_little():
    for seed in range(20):
        group = draw_group(np.random.default_rng(seed), SceneOptions(), shape=2)
        hues, pitches = sorted(t.hue for t in group), [t.pitch for t in group]
        assert all(0.04 < b - a < 0.065 for a, b in zip(hues, hues[1:])) and len(set(pitches)) == len(group) >= 2


def test_small_rests_are_void():
    scene = draw_scene(np.random.default_rng(0))
    for t in range(scene.options.num_frames):
        _, ids = render(scene, t, np.random.default_rng(t))
        areas = np.bincount(ids.ravel())[1:]
        assert areas[areas > 0].min() >= scene.options.min_area


@pytest.mark.parametrize('shape', SHAPES)
def test_shapes_are_filled_at_the_middle_and_bounded(shape):
    assert inside(shape, np.zeros(1), np.zeros(1)).all()
    angle = np.linspace(0, 6.28, 50)
    assert not inside(shape, 1.5 * np.cos(angle), 1.5 * np.sin(angle)).any()


def test_categories_of_ids():
    assert category_of(2, [4, 1, 0]) == 1 and category_of(STUFF_ID + 2, []) == len(SHAPES) + 2
    assert len(STUFF) == 5
    ids = np.array([[0, 2], [2, STUFF_ID]], np.int32)
    assert toy_segments(ids, [0, 3]) == [
        dict(id=2, category_id=3, area=2, iscrowd=0, bbox=[0, 0, 2, 2]),
        dict(id=STUFF_ID, category_id=6, area=1, iscrowd=0, bbox=[1, 1, 1, 1]),
    ]
