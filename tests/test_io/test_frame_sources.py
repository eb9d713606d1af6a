"""Frame sources and their errors for broken videos."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmdvis.io import (
    ArrayFrames,
    FileFrames,
    PrefetchedFrames,
    ResizedFrames,
    VideoFileFrames,
    VideoWriter,
    open_frames,
    short_edge_size,
)


def frames(number=5, size=(20, 32)):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (number, *size, 3), dtype=np.uint8)


def write_folder(folder, arrays, suffix='.png', name='frame{}'):
    folder.mkdir(exist_ok=True)
    for k, array in enumerate(arrays):
        Image.fromarray(array).save(folder / (name.format(k) + suffix))
    return folder


def as_array(tensor):
    return tensor.permute(0, 2, 3, 1).numpy()


def test_a_folder_is_read_in_natural_order(tmp_path):
    arrays = frames(12)
    write_folder(tmp_path / 'v', arrays)  # frame10 is sorted after frame9
    (tmp_path / 'v' / '.hidden.png').write_bytes(b'')
    (tmp_path / 'v' / 'notes.txt').write_text('x')
    source = open_frames(tmp_path / 'v')
    assert len(source) == 12 and source.size == (20, 32)
    assert np.array_equal(as_array(source.read(0, 12)), arrays)
    assert np.array_equal(as_array(source.read(9, 11)), arrays[9:11])


def test_other_image_types(tmp_path):
    for suffix in ('.jpeg', '.webp', '.bmp'):
        assert len(open_frames(write_folder(tmp_path / suffix, frames(2), suffix))) == 2


def test_a_video_file_is_read_forwards_and_backwards(tmp_path):
    path = tmp_path / 'v.mp4'
    with VideoWriter(path, 24) as writer:
        for level in range(8):
            writer.write(np.full((32, 48, 3), 30 * level, np.uint8))
    source = VideoFileFrames(path)
    assert (len(source), source.size, source.fps) == (8, (32, 48), 24.0)
    levels = [int(frame.float().mean().round() / 30 + 0.5) for frame in source.read(0, 8)]
    assert levels == list(range(8))
    assert [int(f.float().mean() / 30 + 0.5) for f in source.read(2, 4)] == [2, 3]
    assert [int(f.float().mean() / 30 + 0.5) for f in source.read(4, 5)] == [4]


def test_prefetching_changes_nothing():
    tensor = torch.from_numpy(frames(7)).permute(0, 3, 1, 2).contiguous()
    source = PrefetchedFrames(ArrayFrames(tensor))
    for start, stop in ((0, 3), (3, 6), (6, 7), (2, 4), (4, 6)):
        assert torch.equal(source.read(start, stop), tensor[start:stop])


def test_prefetching_passes_errors_on(tmp_path):
    folder = write_folder(tmp_path / 'v', frames(4))
    (folder / 'frame2.png').write_bytes(b'broken')
    source = PrefetchedFrames(FileFrames.from_folder(folder))
    source.read(0, 2)
    with pytest.raises(ValueError, match='frame2.png cannot be read as an image'):
        source.read(2, 4)


@pytest.mark.parametrize(
    'size, edge, limit, expected',
    [
        ((480, 640), 360, None, (360, 480)),
        ((640, 480), 360, None, (480, 360)),
        ((100, 1000), 200, 1000, (100, 1000)),
        ((720, 1280), 720, 1333, (720, 1280)),
        ((500, 1003), 800, 1333, (665, 1333)),
    ],
)
def test_sizes_of_the_short_edge(size, edge, limit, expected):
    assert short_edge_size(size, edge, limit) == expected


def test_resizing_is_pillows():
    tensor = torch.from_numpy(frames(2)).permute(0, 3, 1, 2).contiguous()
    source = ResizedFrames(ArrayFrames(tensor), 10)
    assert (source.size, source.original) == ((10, 16), (20, 32))
    expected = np.asarray(Image.fromarray(frames(2)[1]).resize((16, 10), Image.BILINEAR))
    assert np.array_equal(as_array(source.read(1, 2))[0], expected)


@pytest.mark.parametrize('start, stop', [(0, 6), (-1, 2), (3, 3)])
def test_windows_outside_the_video(start, stop):
    with pytest.raises(IndexError, match=rf'frames \[{start}, {stop}\) are out of range for a video of 5 frames'):
        ArrayFrames(torch.zeros(5, 3, 4, 4, dtype=torch.uint8)).read(start, stop)


def test_frames_must_be_bytes():
    with pytest.raises(ValueError, match=r'uint8 \(T, 3, H, W\), got torch.float32 \(5, 3, 4, 4\)'):
        ArrayFrames(torch.zeros(5, 3, 4, 4))


def test_a_frame_of_another_size_is_named(tmp_path):
    folder = write_folder(tmp_path / 'v', [*frames(2), *frames(1, (22, 32))])
    with pytest.raises(ValueError, match=r'frame 2 \(.*frame2.png\) is \(22, 32\) .* the first frame is \(20, 32\)'):
        open_frames(folder).read(0, 3)


def test_what_is_no_video(tmp_path):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match='empty contains no image'):
        open_frames(tmp_path / 'empty')
    with pytest.raises(ValueError, match='there is no video file .*missing.mp4'):
        open_frames(tmp_path / 'missing.mp4')
    (tmp_path / 'text.mp4').write_text('not a video')
    with pytest.raises(ValueError, match='text.mp4 cannot be read as a video'):
        open_frames(tmp_path / 'text.mp4')
    with pytest.raises(ValueError, match='at least one frame, got an empty list'):
        FileFrames([])


def test_a_source_may_be_sent_to_another_process():
    import pickle

    tensor = torch.from_numpy(frames(4)).permute(0, 3, 1, 2).contiguous()
    source = pickle.loads(pickle.dumps(PrefetchedFrames(ResizedFrames(ArrayFrames(tensor), 20))))
    assert torch.equal(source.read(1, 3), tensor[1:3])


def trimmed(tmp_path, number=12, cut=4):
    """Write a video whose edit list hides its first frames, as trimming without re-encoding does."""
    import av

    with VideoWriter(tmp_path / 'full.mp4', 24) as writer:
        for level in range(number):
            writer.write(np.full((32, 48, 3), 20 * level, np.uint8))
    with (
        av.open(str(tmp_path / 'full.mp4')) as source,
        av.open(
            str(tmp_path / 'cut.mp4'), 'w', options={'avoid_negative_ts': 'disabled', 'use_editlist': '1'}
        ) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                back = int(cut / 24 / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - back, packet.dts - back, stream
                target.mux(packet)
    return tmp_path / 'cut.mp4'


def test_a_trimmed_video_has_the_frames_that_are_shown(tmp_path):
    source = VideoFileFrames(trimmed(tmp_path))
    assert len(source) == 8
    levels = [round(float(frame.float().mean()) / 20) for frame in source.read(0, 8)]
    assert levels == list(range(4, 12))
