"""Visualisation: colours, images and videos."""

import av
import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from mmdvis.io import ArrayFrames, PrefetchedFrames, ResizedFrames, VideoWriter
from mmdvis.results import ClassInfo, VideoDataSample, VideoInstances, VideoPanoptic, VideoSemantic
from mmdvis.structures import Segment
from mmdvis.testing.plain_drawing import plain_blend
from mmdvis.visualization import ResultVisualizer, VideoVisualizationHook, colour_of
from mmdvis.visualization.blending import blend_colours
from mmdvis.visualization.name_plates import Label, draw_labels, fitting_plate, font_size, free_corner, render_plate
from mmdvis.visualization.visualizer import blend_ids

CLASSES = ClassInfo.from_meta(dict(classes=('cat', 'sky'), num_things=1))


def test_colours_are_stable_and_apart():
    colours = np.array([colour_of(i) for i in range(1, 40)])
    assert colour_of(5) == colour_of(5) and colours.min() >= 0 and colours.max() <= 255
    distance = np.abs(colours[:, None] - colours[None]).sum(-1) + 999 * np.eye(39)
    assert distance.min() > 15
    assert all(np.abs(a - b).sum() > 120 for a, b in zip(colours, colours[1:]))


def test_void_stays_as_it_is():
    frame = np.full((6, 8, 3), 100, np.uint8)
    id_map = np.zeros((6, 8), np.int32)
    id_map[:, 5:] = 3
    drawn = blend_ids(frame, id_map)
    assert (drawn[:, :4] == 100).all()
    inside = 0.45 * 100 + 0.55 * np.array(colour_of(3))
    assert np.abs(drawn[3, 7] - inside).max() <= 1
    assert drawn[3, 5].mean() > drawn[3, 7].mean()  # the border is brighter


@pytest.mark.parametrize('regions', [1, 9, 300])
def test_fast_blending_equals_the_plain_form_within_one_grey_level(regions):
    rng = np.random.default_rng(regions)
    picture = rng.integers(0, 256, (61, 83, 3)).astype(np.uint8)
    index = np.kron(rng.integers(0, regions + 1, (7, 10)), np.ones((9, 9), int))[:61, :83].astype(np.int32)
    colours = rng.integers(0, 256, (regions + 1, 3))
    for alpha in (0.0, 0.4, 1.0):
        drawn = blend_colours(picture, index, colours, alpha)
        assert np.abs(drawn.astype(int) - plain_blend(picture, index, colours, alpha)).max() <= 1


def panoptic(id_map, *segments):
    return VideoPanoptic(torch.from_numpy(id_map)[None], segments, CLASSES).frame(0)


def test_names_are_written_where_there_is_room():
    frame = np.full((40, 60, 3), 100, np.uint8)
    id_map = np.zeros((40, 60), np.int32)
    id_map[5:35, 10:50], id_map[0, 0] = 2, 7
    result = panoptic(id_map, Segment(2, 1, 0, True, 0.9), Segment(7, 3, 0, True, 0.9))
    drawn, plain = ResultVisualizer(CLASSES).draw(frame, result), blend_ids(frame, id_map)
    changed = (drawn != plain).any(-1)
    assert changed[15:25, 20:40].any() and not changed[:3, :5].any()
    assert (frame == 100).all()


def test_plates_lie_in_the_largest_piece_and_are_never_cut():
    index = np.zeros((120, 160), np.int32)
    index[:20, :20], index[60:, 100:] = 1, 1  # two pieces; the second is larger
    drawn = draw_labels(np.zeros((120, 160, 3), np.uint8), index, {1: Label(('a long name 12',), (0, 0, 200))})
    rows, columns = np.nonzero(drawn.any(-1))
    plate = render_plate('a long name 12', (0, 0, 200), font_size(120, 160))
    assert rows.min() >= 60 and columns.max() < 160
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == plate.shape[:2]  # the whole plate is there


def test_plates_do_not_overlap():
    index = np.repeat(np.arange(1, 31), 4)[:, None].repeat(40, 1).astype(np.int32)  # thirty thin regions
    colours = [(7 * k, 255 - 7 * k, 90) for k in range(1, 31)]
    labels = {k: Label((f'region {k}',), colour) for k, colour in enumerate(colours, 1)}
    drawn = draw_labels(np.zeros((*index.shape, 3), np.uint8), index, labels)
    height, width = render_plate('region 1', colours[0], font_size(*index.shape)).shape[:2]
    assert width > index.shape[1] and not drawn.any()  # no plate fits into the picture
    size, corners = (120, 200), []
    for k in range(1, 31):
        placed = [(x, y, x + width, y + height) for x, y in corners]
        corner = free_corner(50, 4 * k, (height, width), size, placed)
        corners += [corner] if corner else []
    assert 1 < len(corners) < 30
    covered = np.zeros(size, int)
    for x, y in corners:
        covered[y : y + height, x : x + width] += 1
    assert covered.max() == 1


def test_a_label_is_shortened_where_there_is_no_room():
    label = Label(('a very long name 3 0.97', 'name 3', '3'), (200, 0, 0))
    wide, narrow, none = (fitting_plate(label, room, 12).shape[1] for room in (500, 60, 5))
    assert wide > narrow > none


def test_parts_of_a_drawing_can_be_hidden_and_added():
    frame, ids = np.full((90, 120, 3), 100, np.uint8), np.zeros((90, 120), np.int32)
    ids[20:70, 30:90], ids[80:] = 1, 2
    result = panoptic(ids, Segment(1, 0, 0, True, 0.9), Segment(2, 1, 1, False, 0.8))
    everything = ResultVisualizer(CLASSES).draw(frame, result)
    draw = lambda **options: ResultVisualizer(CLASSES, **options).draw(frame, result)
    assert (draw(hide=['names', 'masks']) == 100).all()
    assert (draw(hide=['stuff', 'names'])[85:] == 100).all() and (everything[85:] != 100).any()
    boxes = draw(hide=['names', 'masks'], show=['boxes'])
    assert tuple(boxes[20, 60]) == colour_of(1) and tuple(boxes[69, 89]) == colour_of(1) and (boxes[85] == 100).all()
    assert np.any(draw(hide=['scores']) != everything)
    with pytest.raises(ValueError, match='hide must be some of names, scores, masks, boxes, stuff, got sky'):
        ResultVisualizer(CLASSES, hide=['sky'])
    with pytest.raises(ValueError, match=r'alpha must be in \[0, 1\], got 2'):
        ResultVisualizer(CLASSES, alpha=2)


def test_a_trail_connects_the_centres_of_an_object():
    frame, visualizer = (
        np.zeros((60, 90, 3), np.uint8),
        ResultVisualizer(CLASSES, show=['trails'], hide=['masks', 'names']),
    )
    for left in (10, 40):
        ids = np.zeros((60, 90), np.int32)
        ids[20:40, left : left + 20] = 4
        drawn = visualizer.draw(frame, panoptic(ids, Segment(4, 0, 0, True, 0.9)))
    assert tuple(drawn[30, 35]) == colour_of(4) and not drawn[10].any()


def test_a_colour_of_stuff_belongs_to_its_class_and_that_of_a_thing_to_its_id():
    frame, ids = np.zeros((12, 16, 3), np.uint8), np.ones((12, 16), np.int32)
    ids[:, 8:] = 2
    colours = []
    for first, second in ((1, 2), (5, 9)):
        result = panoptic(
            np.where(ids == 1, first, second).astype(np.int32),
            Segment(first, 0, 0, True, 0.9),
            Segment(second, 1, 1, False, 0.9),
        )
        drawn = ResultVisualizer(CLASSES, alpha=1.0).draw(frame, result)
        colours.append((tuple(drawn[11, 1]), tuple(drawn[11, 14])))
        assert colours[-1] == (colour_of(first), CLASSES.palette[1])
    assert colours[0][0] != colours[1][0]


def test_instances_with_a_higher_score_are_drawn_on_top():
    low, high = (np.zeros((12, 16), np.uint8, order='F') for _ in range(2))
    low[:, :10], high[:, 6:] = 1, 1
    codes = [[coco_mask.encode(mask)] for mask in (high, low)]
    video = VideoInstances(
        torch.tensor([0.9, 0.4]), torch.zeros(2).long(), torch.tensor([4, 2]), codes, CLASSES, 1, (12, 16)
    )
    drawn = ResultVisualizer(CLASSES, alpha=1.0).draw(np.zeros((12, 16, 3), np.uint8), video.frame(0))
    assert tuple(drawn[11, 8]) == colour_of(4) and tuple(drawn[11, 2]) == colour_of(2)


def test_semantic_results_take_the_colours_of_the_classes():
    labels = torch.zeros(1, 12, 16, dtype=torch.uint8)
    labels[..., 8:] = 1
    drawn = ResultVisualizer(CLASSES, alpha=1.0).draw(
        np.zeros((12, 16, 3), np.uint8), VideoSemantic(labels, CLASSES).frame(0)
    )
    assert tuple(drawn[11, 1]) == CLASSES.palette[0] and tuple(drawn[11, 14]) == CLASSES.palette[1]


def test_a_picture_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r'the picture is \(6, 8\) .* and the result \(12, 16\)'):
        ResultVisualizer(CLASSES).draw(np.zeros((6, 8, 3), np.uint8), panoptic(np.zeros((12, 16), np.int32)))


def write(path, number=4, fps=24000 / 1001, fail=False):
    with VideoWriter(path, fps) as writer:
        for _ in range(number):
            writer.write(np.zeros((33, 40, 3), np.uint8))
        if fail:
            raise RuntimeError('stop')


def test_a_video_keeps_its_rate_and_even_sides(tmp_path):
    write(tmp_path / 'v.mp4')
    with av.open(str(tmp_path / 'v.mp4')) as container:
        stream = container.streams.video[0]
        assert float(stream.average_rate) == pytest.approx(23.976, abs=1e-3)
        assert len(list(container.decode(stream))) == 4
        assert (stream.height, stream.width) == (34, 40)


@pytest.mark.parametrize('number, fail', [(3, True), (0, False)])
def test_no_video_is_left_half_written(tmp_path, number, fail):
    if fail:
        with pytest.raises(RuntimeError):
            write(tmp_path / 'v.mp4', number, fail=True)
    else:
        write(tmp_path / 'v.mp4', number)
    assert list(tmp_path.iterdir()) == []


def test_the_hook_draws_into_frames_of_the_original_size(tmp_path):
    id_map = torch.zeros(3, 40, 60, dtype=torch.int32)
    id_map[:, 10:30, 10:40] = 1
    result = VideoPanoptic(id_map, (Segment(1, 0, 0, True, 0.9),), CLASSES)
    sample = result.pack(VideoDataSample(metainfo=dict(video_id='v7')))
    frames = torch.zeros(3, 3, 40, 60, dtype=torch.uint8)
    frames[..., 0, ::2] = 255  # one-pixel lines, which a resize would blur
    source = PrefetchedFrames(ResizedFrames(ArrayFrames(frames), 20))
    VideoVisualizationHook(str(tmp_path)).after_test_iter(None, 0, dict(inputs=[source]), [sample])
    with av.open(str(tmp_path / 'v7.mp4')) as container:
        drawn = [f.to_ndarray(format='rgb24') for f in container.decode(video=0)]
    assert len(drawn) == 3 and drawn[0].shape == (40, 60, 3) and drawn[0][20, 25].sum() > 100
    row = drawn[0][0].astype(int).sum(-1)
    assert (row[::2].mean() - row[1::2].mean()) > 150


def test_the_hook_leaves_out_frames_that_are_not_scored(tmp_path):
    """The first of three frames is only context, so the result has two frames."""
    frames = torch.zeros(3, 3, 40, 60, dtype=torch.uint8)
    frames[1:, 2] = 255
    sample = VideoDataSample(metainfo=dict(video_id='v', frame_names=('a', 'b', 'c'), warmup=1))
    sample = VideoPanoptic(torch.zeros(3, 40, 60, dtype=torch.int32), (), CLASSES).pack(sample)
    VideoVisualizationHook(str(tmp_path)).after_test_iter(None, 0, dict(inputs=[ArrayFrames(frames)]), [sample])
    with av.open(str(tmp_path / 'v.mp4')) as container:
        blues = [frame.to_ndarray(format='rgb24')[..., 2].mean() for frame in container.decode(video=0)]
    assert len(blues) == 2 and min(blues) > 200
