"""Audio in written videos: synchronised with the frames, and silent where the source is damaged."""

import logging
from fractions import Fraction

import av
import numpy as np
import pytest
from helpers import tiny
from PIL import Image

from mmdvis.apis import VideoSegInferencer
from mmdvis.errors import BadInputError
from mmdvis.io import FileFrames, FramesFrom, ResizedFrames, VideoFileFrames, VideoWriter, original_frames
from mmdvis.io.audio_track import in_step

RATE, CHUNK = 48000, 960


def video_with_beep(path, codec, sound_start=0.0, video_start=0.0, chunk=CHUNK):
    """Write a two-second video with a 50 ms tone at 1 s; its audio and video streams start at the given times."""
    tone = np.sin(np.arange(RATE // 20) * 2 * np.pi * 440 / RATE)
    samples = np.zeros(2 * RATE, np.float32)
    first = round((1.0 - sound_start) * RATE)
    samples[first : first + len(tone)] = 0.8 * tone
    with av.open(str(path), 'w') as file:
        pictures = file.add_stream('libx264', rate=10)
        pictures.height, pictures.width, pictures.pix_fmt = 64, 96, 'yuv420p'
        pictures.codec_context.time_base = Fraction(1, 1000)
        sound = file.add_stream(codec, rate=RATE, layout='stereo', options={'strict': '-2'})
        for t in range(20):
            picture = av.VideoFrame.from_ndarray(np.full((64, 96, 3), 10 * t, np.uint8), format='rgb24')
            picture.pts, picture.time_base = round(1000 * video_start) + 100 * t, Fraction(1, 1000)
            file.mux(pictures.encode(picture))
        file.mux(pictures.encode())
        for start in range(0, len(samples), chunk):
            part = samples[start : start + chunk]
            if codec == 'pcm_s16le':
                values, kind = np.repeat((part * 32767).astype(np.int16), 2)[None], 's16'
            else:
                values, kind = np.stack([part, part]), 'fltp'
            frame = av.AudioFrame.from_ndarray(values, kind, 'stereo')
            frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
            frame.pts = start + round(sound_start * RATE)
            file.mux(sound.encode(frame))
        file.mux(sound.encode())
    return path


def time_of_beep(path):
    """Return the time of the tone in seconds, relative to the first video frame."""
    with av.open(str(path)) as file:
        start = file.streams.video[0].start_time
        begin = 0.0 if start is None else float(start * file.streams.video[0].time_base)
        for frame in file.decode(audio=0):
            values = np.abs(frame.to_ndarray().astype(float)) / (32768 if frame.format.name.startswith('s16') else 1)
            loud = np.flatnonzero(values.reshape(-1) > 0.2 if frame.format.is_planar else values[0, ::2] > 0.2)
            if len(loud):
                return float(frame.pts * frame.time_base) + loud[0] / frame.sample_rate - begin
    return None


def rewritten(path, target, frames=20):
    with VideoWriter(target, 10, path) as writer:
        for _ in range(frames):
            writer.write(np.zeros((64, 96, 3), np.uint8))
    return target


@pytest.mark.parametrize('sound_start, video_start', [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5)])
@pytest.mark.parametrize('codec', ['pcm_s16le', 'vorbis', 'aac'])
def test_a_tone_stays_in_step_with_the_pictures(tmp_path, codec, sound_start, video_start):
    source = video_with_beep(tmp_path / 'source.mkv', codec, sound_start, video_start)
    expected = 1.0 - video_start
    assert time_of_beep(source) == pytest.approx(expected, abs=0.03)
    assert time_of_beep(rewritten(source, tmp_path / 'out.mp4')) == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize('chunk', [24000, 48000])
def test_large_packets_that_begin_before_the_pictures_are_cut(tmp_path, chunk):
    source = video_with_beep(tmp_path / 'source.mkv', 'pcm_s16le', video_start=0.7, chunk=chunk)
    assert time_of_beep(source) == pytest.approx(0.3, abs=0.03)
    assert time_of_beep(rewritten(source, tmp_path / 'out.mp4')) == pytest.approx(0.3, abs=0.06)


def test_a_long_gap_needs_no_memory():
    frame = av.AudioFrame.from_ndarray(np.ones((1, 2 * CHUNK), np.int16), 's16', 'stereo')
    frame.sample_rate = RATE
    parts = in_step(frame, 10**12)
    assert all(next(parts).samples == RATE for _ in range(3))


@pytest.mark.parametrize('kind', ['u8', 's16', 's32', 'flt', 'dbl', 'u8p', 's16p', 's32p', 'fltp', 'dblp'])
@pytest.mark.parametrize('layout, channels', [('mono', 1), ('stereo', 2), ('5.1', 6)])
def test_silence_and_cuts_in_every_format(kind, layout, channels):
    dtype = dict(u8=np.uint8, s16=np.int16, s32=np.int32, flt=np.float32, dbl=np.float64)[kind.rstrip('p')]
    values = np.arange(1, 1 + channels * CHUNK).astype(dtype).reshape((channels, CHUNK) if kind[-1] == 'p' else (1, -1))
    frame = av.AudioFrame.from_ndarray(values, kind, layout)
    frame.sample_rate = 8000
    silent, whole = in_step(frame, 1000)
    assert (silent.samples, silent.format.name, silent.layout.name) == (1000, kind, layout) and whole is frame
    assert np.unique(silent.to_ndarray()).tolist() == [128 if kind[0] == 'u' else 0]
    (rest,) = in_step(frame, -800)
    assert rest.samples == CHUNK - 800
    assert np.array_equal(rest.to_ndarray(), values[:, 800 * (1 if kind[-1] == 'p' else channels) :])
    assert list(in_step(frame, -CHUNK)) == [] and list(in_step(frame, 100)) == [frame]


def test_damaged_sound_becomes_silence(tmp_path, caplog):
    source = video_with_beep(tmp_path / 'source.mkv', 'vorbis')
    content = bytearray(source.read_bytes())
    with av.open(str(source)) as file:
        packets = [packet for packet in file.demux(audio=0) if packet.size > 3]
    for packet in packets[5:15]:
        place = content.find(bytes(packet), packet.pos)
        content[place : place + packet.size] = b'\xff' * packet.size
    source.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        target = rewritten(source, tmp_path / 'out.mp4')
    assert caplog.text.count('is damaged') == 1
    assert time_of_beep(target) == pytest.approx(1.0, abs=0.06)
    with av.open(str(target)) as file:
        assert sum(1 for _ in file.decode(video=0)) == 20


def test_a_part_of_a_video_has_its_own_problems(tmp_path):
    for t in range(6):
        Image.fromarray(np.full((16, 16, 3), t, np.uint8)).save(tmp_path / f'{t}.png')
    for t in (1, 4):
        (tmp_path / f'{t}.png').write_bytes(b'')
    whole = FileFrames.from_folder(tmp_path, on_error='repeat')
    part = FramesFrom(whole, 3, 6)
    whole.read(0, 6)
    assert sorted(whole.problems) == [1, 4] and list(part.problems) == [1] and '4.png' in part.problems[1]


def test_a_part_of_a_video_has_its_own_times_and_no_sound(tmp_path):
    source = FramesFrom(VideoFileFrames(video_with_beep(tmp_path / 'source.mkv', 'aac')), 5, 15)
    assert source.times == pytest.approx([t / 10 for t in range(10)], abs=2e-3)
    part = original_frames(ResizedFrames(source, 32))
    assert len(part) == 10 and np.array_equal(part.read(0, 1), source.source.read(5, 6))
    model = tiny.model('cosine', False, tiny.PANOPTIC, dataset_meta=dict(classes=tuple('abcde'), num_things=3)).eval()
    video = VideoSegInferencer(model, short_edge=64)(source)
    written = video.save(tmp_path / 'out', ['video'])
    video.close()
    with av.open(str(written['video.mp4'])) as file:
        assert not file.streams.audio and sum(1 for _ in file.decode(video=0)) == 10
    (tmp_path / 'source.mkv').rename(tmp_path / 'video.mp4')
    with pytest.raises(BadInputError, match='would be replaced'):
        VideoSegInferencer(model)(FramesFrom(VideoFileFrames(tmp_path / 'video.mp4'), 0, 3)).save(tmp_path, ['video'])
