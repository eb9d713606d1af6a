"""Cameras, network streams and pipes: sources without a known length."""

import http.server
import io
import sys
import threading
from functools import partial

import av
import numpy as np
import pytest

from mmdvis.errors import DataError
from mmdvis.io import LiveFrames, VideoWriter, is_live, known_length, open_source, read_clips, source_name
from mmdvis.io.live_frames import public_address


@pytest.fixture
def video(tmp_path):
    """An MPEG transport stream of 10 frames, which can be read from its middle."""
    path = tmp_path / 'clip.ts'
    with av.open(str(path), 'w', format='mpegts') as container:
        stream = container.add_stream('libx264', rate=10, options={'g': '1', 'crf': '10'})
        stream.width, stream.height, stream.pix_fmt = 48, 32, 'yuv420p'
        for level in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((32, 48, 3), 20 * level, np.uint8), format='rgb24')
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def levels(frames):
    return [round(float(frame.float().mean()) / 20) for frame in frames]


def test_frames_arrive_in_clips_until_the_end(video, monkeypatch):
    monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(video.read_bytes())))
    source = open_source('-')
    assert isinstance(source, LiveFrames) and source.size == (32, 48) and source.fps == 10
    assert known_length(source) is None
    assert [levels(clip) for clip in read_clips(source, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(source.read(4)) == 0


def test_a_file_gives_the_same_clips(video):
    source = open_source(video)
    assert known_length(source) == 10
    assert [len(clip) for clip in read_clips(source, 4)] == [4, 4, 2]


@pytest.fixture
def server(tmp_path):
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.log_message = lambda *args: None
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{running.server_port}'
        running.shutdown()


def test_a_network_stream_is_read(video, server):
    source = LiveFrames(f'{server}/clip.ts')
    assert levels(source.read(100)) == list(range(10)) and not source.problems


def test_a_missing_network_stream_is_explained(server):
    with pytest.raises(DataError, match=r'http://127.*missing.ts cannot be read as a video'):
        LiveFrames(f'{server}/missing.ts')


class Lost:
    """A container that breaks off after some frames."""

    def __init__(self, path, count):
        self.container, self.count = av.open(str(path)), count
        self.streams = self.container.streams

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.container.close()

    def demux(self, stream):
        for k, packet in enumerate(self.container.demux(stream)):
            if k == self.count:
                raise OSError('connection reset')
            yield packet


def make(video, counts, monkeypatch, retries=3):
    """A source that breaks off after these numbers of frames, one for each time it is opened."""
    left = list(counts)

    def open_lost(self):
        if not left:
            raise OSError('no route to host')
        return Lost(video, left.pop(0))

    monkeypatch.setattr(LiveFrames, 'open', open_lost)
    return LiveFrames('rtsp://camera/1', retries=retries, wait=0)


def test_a_lost_camera_is_opened_again(video, monkeypatch, caplog):
    source = make(video, [3, 99], monkeypatch)
    assert levels(source.read(100)) == [0, 1, 2, *range(10)]
    assert 'opened again' in source.problems[3] and 'was lost after 3 frames (connection reset)' in caplog.text
    assert np.allclose(source.times, np.arange(13) / 10, atol=1e-3)  # the clock that begins anew is continued


def test_a_camera_that_stays_lost_ends_the_video_with_a_sentence(video, monkeypatch, caplog):
    source = make(video, [4], monkeypatch, retries=2)
    assert levels(source.read(100)) == [0, 1, 2, 3]
    assert source.problems[4] == 'the source was lost (no route to host)'
    assert 'rtsp://camera/1: the source was lost (no route to host); the video ends after 4 frames' in caplog.text


def test_a_camera_that_is_unplugged_ends_the_video(video, monkeypatch):
    source = make(video, [4], monkeypatch, retries=1)
    monkeypatch.setattr(LiveFrames, 'open', lambda self: (_ for _ in ()).throw(DataError('there is no camera 7')))
    assert (
        levels(source.read(100)) == [0, 1, 2, 3] and source.problems[4] == 'the source was lost (there is no camera 7)'
    )


def test_a_file_behind_an_address_is_not_read_twice(video, monkeypatch):
    """Opened again, it would begin at its first frame."""
    monkeypatch.setattr(LiveFrames, 'open', lambda self: Lost(video, 6))
    source = LiveFrames('http://host/clip.ts', wait=0)
    assert levels(source.read(100)) == list(range(6)) and 'lost' in source.problems[6]


def test_a_damaged_part_is_skipped(video, monkeypatch, tmp_path):
    class Damaged(Lost):
        def demux(self, stream):
            for k, packet in enumerate(self.container.demux(stream)):
                yield Refused() if k == 4 else packet

    class Refused:
        def decode(self):
            raise av.error.InvalidDataError(1, 'Invalid data found')

    monkeypatch.setattr(LiveFrames, 'open', lambda self: Damaged(video, 99))
    source = LiveFrames('rtsp://camera/1', wait=0)
    assert len(source.read(100)) == 9 and list(source.problems.values()) == [
        'a part of the video cannot be decoded (Invalid data found)'
    ]


def test_passwords_are_not_shown():
    address = 'rtsp://admin:secret@10.0.0.1:554/live?token=abc'
    assert public_address(address) == 'rtsp://10.0.0.1:554/live'
    assert 'secret' not in source_name(address) and 'abc' not in source_name(address)
    assert source_name(address) != source_name(address + 'd')


def test_a_source_is_closed(video, monkeypatch):
    closed = []
    monkeypatch.setattr(Lost, '__exit__', lambda self, *args: closed.append(self.container.close()))
    source = make(video, [99], monkeypatch)
    source.read(2)
    source.close()
    assert closed == [None] and len(source.read(2)) == 0


def test_a_source_that_was_never_there_is_an_error(video, monkeypatch):
    with pytest.raises(DataError, match=r'rtsp://camera/1 cannot be read as a video \(no route to host\)'):
        make(video, [], monkeypatch)


def test_a_missing_camera_is_explained():
    with pytest.raises(DataError, match=r'there is no camera 97 \(/dev/video97 does not exist\)'):
        LiveFrames(97)


def test_a_change_of_the_size_ends_the_video(video, monkeypatch):
    source = make(video, [99], monkeypatch)
    source.size = (33, 48)
    assert len(source.read(5)) == 0
    assert source.problems == {0: 'the size of the frames changes from (33, 48) to (32, 48)'}


def test_sound_alone_is_no_video(tmp_path, monkeypatch):
    path = tmp_path / 'a.wav'
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('pcm_s16le', rate=8000)
        stream.layout = 'mono'
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout='mono')
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    with pytest.raises(DataError, match='the standard input contains no video stream'):
        LiveFrames('-')


@pytest.mark.parametrize(
    'address, live, name',
    [
        ('-', True, 'stdin'),
        ('0', True, 'camera_0'),
        ('rtsp://10.0.0.1:554/live/1', True, '10.0.0.1_554_live_1'),
        ('HTTP://host/clip.mp4', True, 'host_clip.mp4'),
        ('clips/dog.mp4', False, 'dog'),
        ('frames/seq_1/', False, 'seq_1'),
        ('C:/clip.mp4', False, 'clip'),
    ],
)
def test_names_of_sources(address, live, name):
    assert is_live(address) is live and source_name(address) == name


def test_a_folder_that_is_called_like_a_camera_is_a_folder(tmp_path, monkeypatch):
    (tmp_path / '0').mkdir()
    monkeypatch.chdir(tmp_path)
    assert not is_live('0') and is_live('1')


def test_a_writer_closes_what_it_opened(tmp_path):
    with pytest.raises(RuntimeError), VideoWriter(tmp_path / 'a.mp4') as writer:
        writer.write(np.zeros((32, 32, 3), np.uint8))
        raise RuntimeError
    assert not list(tmp_path.iterdir())
