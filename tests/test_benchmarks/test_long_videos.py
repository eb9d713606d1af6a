"""Small runs of the benchmarks for long videos and postprocessing, and their measuring functions."""

import argparse
import json
import sys
from itertools import count

import pytest
import torch
from helpers import tiny
from helpers.commands import load

from mmdvis.analysis.forced_segments import force_segments
from mmdvis.analysis.profile_inference import first_frames, random_video, run_in_subprocess
from mmdvis.apis import OfflineVideo, VideoStream
from mmdvis.io import ArrayFrames, VideoWriter
from mmdvis.results import VideoDataSample


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'tiny.py'
    model = dict(
        type='DVIS',
        num_classes=tiny.CLASSES,
        segmenter=tiny.SEGMENTER,
        tracker=tiny.TRACKERS['dvis'],
        refiner=tiny.REFINER,
        postprocessor=tiny.PANOPTIC,
    )
    path.write_text(f'model = {model!r}')
    return str(path)


@pytest.mark.parametrize('causal', [False, True])
def test_rows_are_kept_whatever_random_weights_say(causal):
    model = tiny.model('dvis', True, causal=causal).eval()
    force_segments(model, 4)
    recorded_scores = []
    model.postprocessor.register_forward_pre_hook(lambda module, inputs: recorded_scores.append(inputs[0].scores))
    model.predict([ArrayFrames(random_video(3, (64, 96)))], [VideoDataSample()])
    scores, labels = recorded_scores[0].max(-1)
    rows = labels if not causal else labels[-1]
    assert rows.tolist() == [0, 1, 2, 3] + [tiny.CLASSES] * 3 and bool((scores == 1).all())


def test_looped_frames_come_round():
    tool = load('benchmarks/long_videos.py')
    frames = random_video(3, (8, 8))
    looped = tool.LoopedFrames(ArrayFrames(frames), 10)
    assert len(looped) == 10 and torch.equal(looped.read(2, 6), frames[[2, 0, 1, 2]])


def test_a_long_stream_is_read_at_its_marks(config, monkeypatch):
    tool = load('benchmarks/long_videos.py')
    states = iter([100, 100, 200, 200])
    monkeypatch.setattr(tool, 'reset_peak_memory', lambda device: (next(states), 0))
    monkeypatch.setattr(tool, 'peak_memory', lambda device: (1000, 0))
    monkeypatch.setattr(tool.time, 'perf_counter', lambda clock=count(0, 5): next(clock))
    clip_lengths = []
    stream = VideoStream(tiny.model('dvis').eval())
    push = stream.push
    monkeypatch.setattr(stream, 'push', lambda frames: clip_lengths.append(len(frames)) or push(frames))
    source = tool.LoopedFrames(ArrayFrames(random_video(3, (32, 32))), 50)
    measurements = tool.online(stream, source, [20, 50])
    assert [x['frames'] for x in measurements] == [20, 50] and [x['held'] for x in measurements] == [100, 200]
    # ten frames in five seconds
    assert clip_lengths == [10] * 5 and all(x['peak'] == 1000 and x['rate'] == 2.0 for x in measurements)


def test_marks_that_are_near_each_other_are_kept():
    tool, clip_lengths = load('benchmarks/long_videos.py'), []
    stream = VideoStream(tiny.model('dvis').eval())
    push, stream.push = stream.push, lambda frames: clip_lengths.append(len(frames)) or push(frames)
    tool.online(stream, tool.LoopedFrames(ArrayFrames(random_video(3, (32, 32))), 25), [20, 25])
    assert sum(clip_lengths) == 25


@pytest.mark.parametrize('store', ['disk', 'recompute'])
def test_a_long_video_goes_through_whole(store, monkeypatch):
    tool, model = load('benchmarks/long_videos.py'), tiny.model('dvis', True).eval()
    force_segments(model, 3)
    monkeypatch.setattr(tool, 'reset_peak_memory', lambda device: (2**20, 0))
    monkeypatch.setattr(tool, 'peak_memory', lambda device: (2**23, 0))
    monkeypatch.setattr(tool.time, 'perf_counter', lambda clock=count(0, 2): next(clock))
    measurement = tool.offline(
        OfflineVideo(model, progress=False, store=store), tool.LoopedFrames(ArrayFrames(random_video(3, (32, 32))), 7)
    )
    assert measurement == dict(frames=7, rate=3.5, peak=7 * 2**20)


def test_each_measurement_is_a_process_whose_slope_is_told(config, tmp_path, monkeypatch, capsys):
    tool = load('benchmarks/long_videos.py')
    runs = {
        ('online', 30): [dict(frames=10, peak=0, held=0, rate=2.0), dict(frames=30, peak=40960, held=20480, rate=2.0)],
        ('disk', 10): dict(frames=10, peak=0, rate=1.0, formula=1024),
        ('disk', 30): dict(frames=30, peak=61440, rate=1.0, formula=1024),
    }
    monkeypatch.setattr(tool, 'run_in_subprocess', lambda one, mode, frames: runs[mode, frames])
    monkeypatch.setattr(
        sys,
        'argv',
        [
            'long_videos.py',
            config,
            '--modes',
            'online',
            'disk',
            '--frames',
            '10',
            '30',
            '--json',
            str(tmp_path / 'found.json'),
        ],
    )
    tool.main()
    lines = [
        [cell.strip() for cell in line.split('|')[1:-1]] for line in capsys.readouterr().out.splitlines() if '|' in line
    ]
    assert lines[2][-2:] == ['2.0', '0.0'] and lines[3][4] == '1.0' and lines[5][-2:] == ['3.0', '1.0']
    assert json.loads((tmp_path / 'found.json').read_text())['disk']['bytes_a_frame'] == 3072


def test_one_measurement_of_a_long_video(config):
    tool = load('benchmarks/long_videos.py')
    args = argparse.Namespace(config=config, size=32, video=None, precision='fp32', kept=2, frames=[10, 20])
    assert tool.run(args, 'recompute', 12)['formula'] == 4 * 7 * (5 * 16 + 2 * 16 + 6)
    assert [x['frames'] for x in tool.run(args, 'online', 20)] == [10, 20]


@pytest.mark.parametrize('task, kept', [('panoptic', 3), ('instance', 3), ('semantic', 9)])
def test_the_cost_of_results_is_that_of_kept_rows(task, kept, monkeypatch):
    tool = load('benchmarks/postprocessing.py')
    args = argparse.Namespace(size=[30, 40], masks='objects', precision='fp32')
    prediction = tool.prediction(args, 9, kept, 2, (30, 40))
    asked = []
    small = type(prediction.masks).small
    type(prediction.masks).small, result = (
        lambda self, rows, frame: asked.append(len(rows)) or small(self, rows, frame),
        None,
    )
    try:
        result = tool.postprocessor(task, kept)(prediction)
    finally:
        type(prediction.masks).small = small
    assert asked == [kept] * 2 and result.num_frames == 2
    monkeypatch.setattr(tool, 'reset_peak_memory', lambda device: (100, 0))
    monkeypatch.setattr(tool, 'peak_memory', lambda device: (350, 0))
    monkeypatch.setattr(tool.time, 'perf_counter', lambda clock=count(0, 6): next(clock))
    for way in ('tiles', 'whole', *(['argmax'] if task == 'panoptic' else [])):  # six seconds for two frames
        assert tool.run(args, task, 9, kept, 2, way) == dict(seconds=3.0, peak=250)


def test_a_process_of_its_own_prints_json_last(tmp_path, monkeypatch):
    script = tmp_path / 'script.py'
    script.write_text('import sys; print("talk"); print(len(sys.argv)) if sys.argv[1] == "a" else sys.exit(3)')
    monkeypatch.setattr(sys, 'argv', [str(script), 'a'])
    assert run_in_subprocess('--one', 7) == 4
    monkeypatch.setattr(sys, 'argv', [str(script), 'b'])
    with pytest.raises(SystemExit, match='--one 7: the process .* 3'):
        run_in_subprocess('--one', 7)


def test_frames_are_those_of_the_video_or_noise(tmp_path):
    noise = first_frames(None, 3, 36)
    assert noise.shape == (3, 3, 36, 64) and torch.equal(noise, random_video(3, (36, 64)))
    path, frame = str(tmp_path / 'clip.mp4'), torch.full((40, 64, 3), 200, dtype=torch.uint8).numpy()
    with VideoWriter(path, 10.0) as writer:
        for _ in range(3):
            writer.write(frame)
    frames = first_frames(path, 2, 20)
    assert frames.shape == (2, 3, 20, 32) and float(frames.float().mean()) == pytest.approx(200, abs=3)
