"""Streams of any length: memory and time per frame stay the same, and results are written while frames come."""

import json
import time

import numpy as np
import pytest
import torch
from helpers import tiny

from mmdvis.analysis.forced_segments import force_segments
from mmdvis.analysis.profile_inference import reset_peak_memory
from mmdvis.apis import VideoStream, segment_video
from mmdvis.io import LiveFrames

LENGTH, SECONDS = 10_000, 7200  # two hours


class Camera(LiveFrames):
    """A camera that looks around for two hours; notes memory, time and written bytes at every tenth."""

    def __init__(self, folder):
        self.folder, self.marks = folder, []
        self.clip = np.random.default_rng(0).integers(0, 255, (20, 32, 48, 3), np.uint8)
        super().__init__('camera')

    def decode(self):
        for t in range(LENGTH):
            if t % (LENGTH // 10) == 0:
                written = sum(path.stat().st_size for path in self.folder.rglob('*') if path.is_file())
                self.marks.append((reset_peak_memory(torch.device('cpu'))[0], time.perf_counter(), written))
            yield t * SECONDS / LENGTH, self.clip[t % len(self.clip)]


@pytest.mark.slow
def test_a_stream_of_two_hours(tmp_path):
    torch.manual_seed(0)
    model = tiny.model('dvis', causal=True).eval()
    force_segments(model, 4)
    camera = Camera(tmp_path)
    written = segment_video(VideoStream(model), camera, tmp_path / 'out', progress=False, save=['masks', 'json', 'csv'])
    memory, times, sizes = (np.array(column) for column in zip(*camera.marks))
    slope = np.polyfit(np.arange(2, 10), memory[2:], 1)[0] / (LENGTH / 10)
    seconds = np.diff(times)
    assert slope < 2000, f'{slope:.0f} bytes a frame'
    assert np.median(seconds[-4:]) < 1.5 * np.median(seconds[1:5])
    assert (np.diff(sizes) > 0).all()  # results are written as they come
    assert len(list(written['panoptic'].glob('*.png'))) == LENGTH
    frames = json.loads(written['result.json'].read_text())['frames']
    assert len(frames) == LENGTH and frames[-1]['time'] == pytest.approx(SECONDS * (1 - 1 / LENGTH), abs=1e-3)
    print(f'{slope:.0f} bytes and {1000 * np.median(seconds) / (LENGTH / 10):.1f} ms a frame')
