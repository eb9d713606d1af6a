"""Colours, pictures and videos."""

import av
import numpy as np
import pytest

from mmdvis.io import VideoWriter
from mmdvis.structures import Segment
from mmdvis.visualization import colour_of, draw_panoptic
from mmdvis.visualization.visualizer import blend


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
    drawn = blend(frame, id_map)
    assert (drawn[:, :5] == 100).all()
    inside = 0.45 * 100 + 0.55 * np.array(colour_of(3))
    assert np.abs(drawn[3, 7] - inside).max() <= 1
    assert drawn[3, 5].mean() > drawn[3, 7].mean()  # the border is lighter


def test_names_are_written_where_there_is_room():
    frame = np.full((40, 60, 3), 100, np.uint8)
    id_map = np.zeros((40, 60), np.int32)
    id_map[5:35, 10:50], id_map[0, 0] = 2, 7
    segments = [Segment(2, 1, 0, True, 0.9), Segment(7, 3, 1, False, 0.9)]
    drawn, plain = draw_panoptic(frame, id_map, segments, ('cat', 'sky')), blend(frame, id_map)
    changed = (drawn != plain).any(-1)
    assert changed[15:25, 20:40].any() and not changed[:3, :5].any()
    assert (frame == 100).all()


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


def test_the_hook_draws_every_test_video(tmp_path):
    from types import SimpleNamespace

    import torch

    from mmdvis.io import ArrayFrames
    from mmdvis.structures import VideoDataSample, VideoPanoptic
    from mmdvis.visualization import DrawResultsHook

    id_map = torch.zeros(3, 40, 60, dtype=torch.int32)
    id_map[:, 10:30, 10:40] = 1
    result = VideoPanoptic(id_map, (Segment(1, 0, 0, True, 0.9),))
    sample = result.pack(VideoDataSample(metainfo=dict(video_id='v7')))
    dataset = SimpleNamespace(metainfo=dict(classes=('cat',)))
    runner = SimpleNamespace(test_dataloader=SimpleNamespace(dataset=dataset))
    source = ArrayFrames(torch.zeros(3, 3, 20, 30, dtype=torch.uint8))  # the model saw it at half the size
    DrawResultsHook(str(tmp_path)).after_test_iter(runner, 0, dict(inputs=[source]), [sample])
    with av.open(str(tmp_path / 'v7.mp4')) as container:
        frames = [f.to_ndarray(format='rgb24') for f in container.decode(video=0)]
    assert len(frames) == 3 and frames[0].shape == (40, 60, 3) and frames[0][20, 25].sum() > 100
