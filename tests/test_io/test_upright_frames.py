"""Orientation, unusual pixel formats, reduced sizes, variable frame rates and damage of frames from anywhere."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from mmdvis.errors import DataError
from mmdvis.io import FileFrames, VideoFileFrames, VideoWriter, open_frames, read_image
from mmdvis.io.frame_sources import size_or_none
from mmdvis.io.images import image_size


def quarters(height=32, width=48):
    """A picture whose four quarters are red, green, blue and grey."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2] = 200, 30, 30
    picture[: height // 2, width // 2 :] = 30, 200, 30
    picture[height // 2 :, : width // 2] = 30, 30, 200
    picture[height // 2 :, width // 2 :] = 120
    return picture


def corner_colours(picture):
    """The name of the colour of each quarter, clockwise from the top left."""
    height, width = picture.shape[:2]
    names = {0: 'red', 1: 'green', 2: 'blue'}
    found = []
    for y, x in ((1, 1), (1, 3), (3, 3), (3, 1)):
        r = picture[y * height // 4, x * width // 4].astype(int)
        found.append('grey' if r.max() - r.min() < 40 else names[int(r.argmax())])
    return found


def with_rotation(path, degrees):
    """Writes the display matrix of a clockwise rotation into an mp4, as phones do."""
    matrices = {90: (0, 1, 0, -1, 0, 0, 0, 0, 1), 180: (-1, 0, 0, 0, -1, 0, 0, 0, 1), 270: (0, -1, 0, 1, 0, 0, 0, 0, 1)}
    content = bytearray(path.read_bytes())
    at = content.index(b'tkhd') + 4 + 40
    fractions = (16, 16, 30) * 3
    values = [value << bits for value, bits in zip(matrices[degrees], fractions)]
    content[at : at + 36] = struct.pack('>9i', *values)
    path.write_bytes(content)


@pytest.mark.parametrize(
    'degrees, corners',
    [
        (90, ['blue', 'red', 'green', 'grey']),
        (180, ['grey', 'blue', 'red', 'green']),
        (270, ['green', 'grey', 'blue', 'red']),
    ],
)
def test_a_rotated_phone_video_is_turned_upright(tmp_path, degrees, corners):
    path = tmp_path / 'phone.mp4'
    with VideoWriter(path) as writer:
        for _ in range(3):
            writer.write(quarters())
    assert corner_colours(VideoFileFrames(path).read(0, 1)[0].permute(1, 2, 0).numpy()) == [
        'red',
        'green',
        'grey',
        'blue',
    ]
    with_rotation(path, degrees)
    source = VideoFileFrames(path)
    assert source.size == ((48, 32) if degrees != 180 else (32, 48))
    assert corner_colours(source.read(2, 3)[0].permute(1, 2, 0).numpy()) == corners


@pytest.mark.parametrize('orientation', range(1, 9))
def test_the_orientation_of_exif_is_applied_for_viewers_only(tmp_path, orientation):
    stored, exif = Image.fromarray(quarters()), Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / 'photo.png', exif=exif)
    shown = open_frames(tmp_path / 'photo.png').read(0, 1)[0].permute(1, 2, 0).numpy()
    turns = {  # what a viewer does to the stored picture
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: np.rot90(p, -1),
        7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
        8: lambda p: np.rot90(p),
    }
    assert np.array_equal(shown, turns[orientation](quarters()))
    assert np.array_equal(read_image(tmp_path / 'photo.png'), quarters())  # datasets are annotated as stored


def test_transparent_pixels_are_shown_on_white(tmp_path):
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:, :2] = 200, 0, 0, 255
    pixels[:, 2] = 0, 0, 0, 0
    pixels[:, 3] = 0, 0, 0, 128
    Image.fromarray(pixels).save(tmp_path / 'a.png')
    shown = read_image(tmp_path / 'a.png')
    assert shown[0, 0].tolist() == [200, 0, 0] and shown[0, 2].tolist() == [255, 255, 255]
    assert abs(int(shown[0, 3, 0]) - 127) <= 1


def test_values_of_16_bits_are_scaled(tmp_path):
    values = np.array([[0, 128, 257, 32896, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / 'a.png')
    assert read_image(tmp_path / 'a.png')[0, :, 0].tolist() == [0, 0, 1, 128, 255]


@pytest.mark.parametrize('dtype, words', [(np.int32, 'integers of 32 bits'), (np.float32, 'floating point numbers')])
def test_values_without_a_range_are_refused(tmp_path, dtype, words):
    Image.fromarray(np.ones((4, 4), dtype)).save(tmp_path / 'a.tif')
    with pytest.raises(DataError, match=f'a.tif has {words}.*convert it to 8 or 16 bits'):
        read_image(tmp_path / 'a.tif')


@pytest.mark.parametrize('mode', ['L', 'P', '1', 'LA', 'CMYK', 'YCbCr'])
def test_other_modes_become_rgb(tmp_path, mode):
    suffix = '.jpg' if mode in ('CMYK', 'YCbCr') else '.png'
    Image.fromarray(quarters()).convert(mode).save(tmp_path / f'a{suffix}')
    found = read_image(tmp_path / f'a{suffix}')
    if mode in ('CMYK', 'YCbCr'):
        assert corner_colours(found) == ['red', 'green', 'grey', 'blue']
    else:
        assert np.array_equal(found, np.asarray(Image.fromarray(quarters()).convert(mode).convert('RGB')))


def test_large_frames_are_reduced(tmp_path):
    big = np.repeat(np.repeat(quarters(), 8, 0), 8, 1)
    Image.fromarray(big).save(tmp_path / 'a.jpg', quality=95)
    with VideoWriter(tmp_path / 'a.mp4') as writer:
        writer.write(big)
    for name in ('a.jpg', 'a.mp4'):
        source = open_frames(tmp_path / name, max_edge=96)
        assert source.size == source.original == (64, 96)
        frame = source.read(0, 1)[0].permute(1, 2, 0).numpy()
        assert corner_colours(frame) == ['red', 'green', 'grey', 'blue']
        assert open_frames(tmp_path / name, max_edge=384).size == (256, 384)


def test_a_large_jpeg_is_not_decoded_at_full_size(tmp_path, monkeypatch):
    """Pillow decodes JPEG at 1/2, 1/4 or 1/8 of the size; the pixels that are loaded show it."""
    loaded = []
    load = Image.Image.load

    def record(self, *args):
        loaded.append(self.size)
        return load(self, *args)

    Image.fromarray(np.zeros((1024, 2048, 3), np.uint8)).save(tmp_path / 'a.jpg')
    monkeypatch.setattr(Image.Image, 'load', record)
    assert read_image(tmp_path / 'a.jpg', max_edge=200).shape == (100, 200, 3)
    assert max(loaded) <= (1024, 512)


def write_at(path, times):
    with VideoWriter(path, 10) as writer:
        for k, time in enumerate(times):
            writer.write(np.full((32, 48, 3), 20 * k, np.uint8), time)


def test_times_of_a_variable_frame_rate_are_written_and_read(tmp_path):
    times = [0.0, 0.1, 0.15, 0.5, 0.52, 1.4]
    write_at(tmp_path / 'v.mp4', times)
    source = VideoFileFrames(tmp_path / 'v.mp4')
    assert np.allclose(source.times, times, atol=1e-3) and len(source) == 6
    levels = [round(float(frame.float().mean()) / 20) for frame in source.read(0, 6)]
    assert levels == list(range(6))


def test_a_constant_rate_has_regular_times(tmp_path):
    with VideoWriter(tmp_path / 'v.mp4', 25) as writer:
        for _ in range(5):
            writer.write(quarters())
    assert np.allclose(VideoFileFrames(tmp_path / 'v.mp4').times, np.arange(5) / 25, atol=1e-3)


def test_frames_that_the_decoder_flags_are_counted(tmp_path):
    """A stream that begins between two key frames, as one that is cut out of a broadcast."""
    with av.open(str(tmp_path / 'whole.ts'), 'w', format='mpegts') as container:
        stream = container.add_stream('libx264', rate=10, options={'g': '4', 'bf': '0', 'sc_threshold': '0'})
        stream.width, stream.height, stream.pix_fmt = 96, 64, 'yuv420p'
        for k in range(12):
            picture = np.roll(quarters(64, 96), 3 * k, 1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format='rgb24')))
        container.mux(stream.encode())
    with av.open(str(tmp_path / 'whole.ts')) as source, av.open(str(tmp_path / 'cut.mkv'), 'w') as target:
        copy = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        assert [k for k, packet in enumerate(packets) if packet.is_keyframe] == [0, 4, 8]
        for packet in packets[1:]:
            packet.stream = copy
            target.mux(packet)
    source = VideoFileFrames(tmp_path / 'cut.mkv')
    assert len(source) == 11
    source.read(0, 11)
    assert set(source.problems) <= {0, 1, 2} and source.problems
    assert set(source.problems.values()) == {'the decoder flagged the frame as damaged'}


def test_a_list_of_files_keeps_the_stored_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(quarters()).save(tmp_path / '0.png', exif=exif)
    assert FileFrames([tmp_path / '0.png']).size == (32, 48)
    assert FileFrames([tmp_path / '0.png'], upright=True).size == (48, 32)


def damaged_video(tmp_path, number=12, bad=6):
    """A video whose frame ``bad`` the decoder refuses."""
    path = tmp_path / 'v.mp4'
    with VideoWriter(path, 25) as writer:
        for k in range(number):
            writer.write(np.roll(quarters(64, 96), 3 * k, 1))
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    content[places[bad] + 4] ^= 0x1F  # the type of the unit
    path.write_bytes(content)
    return path


def test_a_frame_that_cannot_be_decoded_is_an_error_or_is_replaced(tmp_path):
    path = damaged_video(tmp_path)
    with pytest.raises(DataError, match=r'frame \d+ of .*v.mp4 cannot be decoded'):
        VideoFileFrames(path).read(0, 12)
    source = VideoFileFrames(path, on_error='repeat')
    frames = source.read(0, 12)
    assert len(frames) == 12 and len(source.problems) >= 1
    bad = min(source.problems)
    assert np.array_equal(frames[bad].numpy(), frames[bad - 1].numpy())


def test_a_video_that_is_cut_off_is_an_error_or_ends_with_its_last_frame(tmp_path):
    path = tmp_path / 'v.mkv'
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=10, options={'bf': '0'})
        stream.width, stream.height, stream.pix_fmt = 96, 64, 'yuv420p'
        for k in range(12):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(quarters(64, 96), k, 1), format='rgb24')))
        container.mux(stream.encode())
    source = VideoFileFrames(path, on_error='repeat')
    source.num_frames = 15  # as a header that promises more
    frames = source.read(0, 15)
    assert sorted(source.problems) == [12, 13, 14]
    assert 'ends after 12 of 15 frames' in source.problems[12]
    assert np.array_equal(frames[14].numpy(), frames[11].numpy())


def test_joined_videos_have_no_times(tmp_path):
    """Times that jump back would put frames into the wrong order."""
    for name in 'ab':
        with av.open(str(tmp_path / f'{name}.ts'), 'w', format='mpegts') as container:
            stream = container.add_stream('libx264', rate=10)
            stream.width, stream.height, stream.pix_fmt = 96, 64, 'yuv420p'
            for _ in range(5):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(quarters(64, 96), format='rgb24')))
            container.mux(stream.encode())
    (tmp_path / 'joined.ts').write_bytes((tmp_path / 'a.ts').read_bytes() + (tmp_path / 'b.ts').read_bytes())
    source = VideoFileFrames(tmp_path / 'joined.ts', on_error='repeat')
    assert source.times is None and len(source) == 10 and len(source.read(0, 10)) == 10
    assert VideoFileFrames(tmp_path / 'a.ts').times is not None


def test_equal_times_are_moved_apart(tmp_path):
    write_at(tmp_path / 'v.mp4', [0.0, 0.0, 0.5, 0.4])
    assert len(VideoFileFrames(tmp_path / 'v.mp4').read(0, 4)) == 4


def test_a_variable_video_lasts_as_long_as_its_frames(tmp_path):
    write_at(tmp_path / 'v.mp4', [0.0, 0.1, 0.15, 0.5, 3.0])
    with av.open(str(tmp_path / 'v.mp4')) as container:
        stream = container.streams.video[0]
        assert float(stream.duration * stream.time_base) == pytest.approx(3.1, abs=0.02)


def test_a_closed_video_is_opened_again(tmp_path):
    with VideoWriter(tmp_path / 'v.mp4') as writer:
        for level in range(4):
            writer.write(np.full((32, 48, 3), 60 * level, np.uint8))
    source = VideoFileFrames(tmp_path / 'v.mp4')
    source.read(0, 2)
    source.close()
    assert [round(float(frame.float().mean()) / 60) for frame in source.read(2, 4)] == [2, 3]


@pytest.mark.parametrize('max_edge', [None, 32])
def test_a_folder_of_turned_or_large_images_is_read(tmp_path, max_edge):
    """The expected size is that of decoded frames, after rotation and reduction."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for k in range(4):
        Image.fromarray(quarters()).save(tmp_path / f'{k}.jpg', exif=exif, quality=95)
    Image.fromarray(quarters(48, 48)).save(tmp_path / '4.jpg')
    source = open_frames(tmp_path, max_edge=max_edge, on_error='repeat')
    assert source.size == source.original == ((48, 32) if max_edge is None else (32, 21))
    frames = source.read(0, 5)
    assert frames.shape[-2:] == source.size and list(source.problems) == [4]
    assert 'but most frames are' in source.problems[4]


@pytest.mark.parametrize('orientation', [0, 9, 65535])
def test_an_orientation_that_is_none_is_ignored(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    for k in range(2):
        Image.fromarray(quarters()).save(tmp_path / f'{k}.jpg', exif=exif)
    assert open_frames(tmp_path, on_error='repeat').size == (32, 48)


def test_only_the_header_of_a_png_is_read_for_its_size(tmp_path, monkeypatch):
    """Reading EXIF data of a PNG without an eXIf chunk in its header would decode the pixels."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(quarters()).save(tmp_path / 'plain.png')
    Image.fromarray(quarters()).save(tmp_path / 'turned.png', exif=exif)
    assert image_size(tmp_path / 'turned.png', upright=True) == (48, 32)
    monkeypatch.setattr('PIL.PngImagePlugin.PngImageFile.load', None)
    assert image_size(tmp_path / 'plain.png', upright=True) == (32, 48)


def test_the_second_most_common_size_is_taken_if_the_first_cannot_be_decoded(tmp_path):
    for k in range(3):
        path = tmp_path / f'{k}.jpg'
        Image.fromarray(quarters()).save(path)
        path.write_bytes(path.read_bytes()[:-40])
        assert size_or_none(path, True) == (32, 48)  # its header can be read
    for k in range(3, 5):
        Image.fromarray(quarters(16, 24)).save(tmp_path / f'{k}.png')
    source = open_frames(tmp_path, on_error='repeat')
    assert source.size == (16, 24) and len(source.read(0, 5)) == 5 and sorted(source.problems) == [0, 1, 2]


@pytest.mark.parametrize('codec', ['libx264', 'libx265'])
def test_matroska_with_frames_out_of_order_keeps_its_times(tmp_path, codec):
    """The first packets of such files have no decoding time."""
    times = [t / 10 if t < 8 else 0.8 + (t - 8) * 0.4 for t in range(14)]
    with av.open(str(tmp_path / 'v.mkv'), 'w') as file:
        stream = file.add_stream(codec, rate=25, options={'x265-params': 'log-level=none'} if '5' in codec else {})
        stream.height, stream.width, stream.pix_fmt = 64, 96, 'yuv420p'
        stream.codec_context.time_base = Fraction(1, 1000)
        for k, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), 15 * k, np.uint8), format='rgb24')
            frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    assert VideoFileFrames(tmp_path / 'v.mkv').times == pytest.approx(times, abs=2e-3)


def test_the_matrix_of_the_colours_is_stated(tmp_path):
    """Players may assume BT.709 for videos that do not specify a colour matrix."""
    with VideoWriter(tmp_path / 'v.mp4') as writer:
        writer.write(quarters())
    with av.open(str(tmp_path / 'v.mp4')) as file:
        context = file.streams.video[0].codec_context
        assert (context.colorspace, context.color_range) == (6, 1)  # BT.601, limited range
