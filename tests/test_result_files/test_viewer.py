"""The viewer file: its encoding, its size, the marks of errors, and its behaviour in Chromium."""

import json
import re
import zlib
from pathlib import Path

import av
import numpy as np
import pytest
from helpers.browser import open_page
from helpers.results import CLASSES, MAKERS, panoptic, pictures

from mmdvis.errors import BadInputError
from mmdvis.result_files import HtmlViewer, SavedResults, VideoInfo, write_results
from mmdvis.result_files.viewer import encoding
from mmdvis.result_files.viewer.comparison import ErrorLog, match_objects
from mmdvis.result_files.viewer.encoding import ALPHABET, encode_bytes, encode_frame, varints
from mmdvis.results import FrameResult
from mmdvis.results.frame_result import map_objects


def decode_text(text, size):
    """The bytes of a text, with Python's integers."""
    number = 0
    for k in range(0, len(text), 2):
        number = number << 13 | ALPHABET.index(text[k]) * 91 + ALPHABET.index(text[k + 1])
    return (number >> (len(text) // 2 * 13 - 8 * size)).to_bytes(size, 'big')


@pytest.mark.parametrize('size', [0, 1, 2, 12, 13, 14, 1000])
def test_bytes_survive_as_text(size):
    content = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8).tobytes()
    text = encode_bytes(content)
    assert decode_text(text, size) == content and set(text) <= set(ALPHABET)
    assert len(text) == 2 * -(-8 * size // 13)


def test_the_alphabet_cannot_end_a_script():
    assert len(set(ALPHABET)) == 91 and not set(ALPHABET) & set('<"\\ \n')


def test_pieces_of_a_file_join(tmp_path, monkeypatch):
    monkeypatch.setattr(encoding, 'BLOCK', 26)
    (tmp_path / 'a').write_bytes(bytes(range(100)))
    with open(tmp_path / 'a', 'rb') as file:
        assert ''.join(encoding.encode_file(file)) == encode_bytes(bytes(range(100)))


def read_varint(content, at):
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 127) << shift
        shift, at = shift + 7, at + 1
        if byte < 128:
            return value, at


@pytest.mark.parametrize('value', [0, 1, 127, 128, 300, 16383, 16384, 2**21, 2**31 - 1])
def test_integers_of_any_size(value):
    content = varints(np.array([value, 5]))
    first, at = read_varint(content, 0)
    assert (first, read_varint(content, at)[0]) == (value, 5)


def read_frames(content, number, shape):
    """The objects and the index map of every frame, by the description in ``encode_frame``."""
    at, frames = 0, []
    for _ in range(number):
        count, at = read_varint(content, at)
        objects = []
        for _ in range(count):
            k, at = read_varint(content, at)
            score, at = read_varint(content, at)
            objects.append((k, score))
        runs, at = read_varint(content, at)
        pixels = []
        for _ in range(runs):
            value, at = read_varint(content, at)
            length, at = read_varint(content, at)
            pixels += [value] * length
        frames.append((objects, np.array(pixels).reshape(shape)))
    assert at == len(content)
    return frames


def test_a_frame_is_what_it_was():
    index = np.random.default_rng(0).integers(0, 3, (7, 9))
    content = encode_frame([(300, 0.5), (2, None)], index)
    ((objects, read),) = read_frames(content, 1, (7, 9))
    assert objects == [(300, 127), (2, 255)] and np.array_equal(read, index)


def write_viewer(
    folder, task='vps', number=6, viewer=HtmlViewer, size=(40, 60), make=None, fps=10.0, name='a <b> clip'
):
    make = make or MAKERS[task]
    frames = [(picture, make(t)) for t, picture in enumerate(pictures(number, size))]
    info = VideoInfo('a <b> clip', CLASSES, size, fps)
    return write_results(frames, folder, info, ['html'], viewer)['viewer.html'], frames


def element(page, name):
    return re.search(rf'<script type="[^"]+" id="{name}">(.*?)</script>', page, re.S).group(1)


@pytest.mark.parametrize('task', MAKERS)
def test_the_file_holds_the_video_and_the_result(tmp_path, task):
    path, frames = write_viewer(tmp_path, task)
    page = path.read_text('utf-8')
    info = json.loads(element(page, 'video-info'))
    assert info['name'] == 'a <b> clip' and '<b>' not in element(page, 'video-info')
    assert (info['frames'], info['width'], info['height'], info['fps']) == (6, 60, 40, 10.0)
    (tmp_path / 'v.mp4').write_bytes(decode_text(element(page, 'video-data'), info['videoBytes']))
    with av.open(str(tmp_path / 'v.mp4')) as container:
        shown = [frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)]
    assert len(shown) == 6
    assert np.abs(shown[3].astype(int) - frames[3][0]).mean() < 12  # the clean picture, compressed
    (result,) = info['results']
    content = zlib.decompress(decode_text(element(page, 'result-0'), result['bytes']))
    for (objects, index), (_, expected) in zip(read_frames(content, 6, (40, 60)), frames):
        assert np.array_equal(index, expected.index_map())
        for (k, score), segment in zip(objects, expected.objects):
            entry = result['objects'][k]
            assert (entry['id'], entry['name']) == (segment.id, segment.name)
            assert score == (255 if segment.score is None else round(254 * segment.score))


def noisy_pictures(number, size):
    """Pictures that compress as badly as those of a hand-held camera."""
    rng = np.random.default_rng(0)
    still = np.kron(rng.integers(60, 200, (size[0] // 4, size[1] // 4, 3)), np.ones((4, 4, 1)))
    return [
        (np.roll(still, 2 * t, 1) + rng.normal(0, 12, (*size, 3))).clip(0, 255).astype(np.uint8) for t in range(number)
    ]


def test_the_file_is_at_most_1_3_times_its_content(tmp_path):
    """The page itself has about 26 kB, so that a clip of some seconds is enough."""
    size = (240, 320)
    frames = [(picture, panoptic(t % 10, size=size)) for t, picture in enumerate(noisy_pictures(60, size))]
    path = write_results(frames, tmp_path, VideoInfo('clip', CLASSES, size, 10.0), ['html'])['viewer.html']
    info = json.loads(element(path.read_text('utf-8'), 'video-info'))
    content = info['videoBytes'] + info['results'][0]['bytes']
    assert content > 400_000 and path.stat().st_size <= 1.3 * content
    assert path.stat().st_size <= 1.232 * content + 30_000


def square(t, found_id, column=4, name='car', row=4):
    id_map = np.zeros((20, 30), np.int32)
    id_map[row : row + 8, column : column + 8] = found_id
    entry = dict(value=found_id, id=found_id, label=CLASSES.names.index(name), name=name, score=1.0, is_thing=True)
    return FrameResult(map_objects(id_map, [entry]), (20, 30), id_map=id_map, index=t)


def test_objects_match_by_hand():
    truth = square(0, 5)
    assert match_objects(square(0, 9, column=5), truth) == {5: 9}  # 56 / 72
    assert match_objects(square(0, 9, column=7), truth) == {}  # 40 / 88
    assert match_objects(square(0, 9, name='person'), truth) == {}
    with pytest.raises(ValueError, match=r'the result is \(40, 60\).*ground truth is \(20, 30\)'):
        match_objects(panoptic(0), truth)


def test_misses_and_switches_are_marked():
    log = ErrorLog()
    for t, (number, column) in enumerate([(1, 4), (1, 4), (2, 4), (2, 20), (2, 4), (1, 4)]):
        log.push(square(t, number, column), square(t, 7))
    assert log.events == [
        dict(frame=2, kind='switch', truth=7, found=2),
        dict(frame=3, kind='miss', truth=7, found=None),
        dict(frame=5, kind='switch', truth=7, found=1),
    ]


def compared(tmp_path, number=6):
    """A folder of ground truth, and a viewer function that compares with it."""
    frames = [(picture, panoptic(t)) for t, picture in enumerate(pictures(number))]
    write_results(frames, tmp_path / 'truth', VideoInfo('truth', CLASSES, (40, 60), 10.0), ['json', 'masks'])
    saved = SavedResults(tmp_path / 'truth')
    return lambda folder, info: HtmlViewer(folder, info, saved, saved.classes, 'ground truth', True)


def test_the_file_of_a_comparison_has_the_errors(tmp_path):
    path, _ = write_viewer(
        tmp_path / 'out', viewer=compared(tmp_path), make=lambda t: panoptic(t, ids=(3, 7) if t < 4 else (11, 7))
    )
    info = json.loads(element(path.read_text('utf-8'), 'video-info'))
    assert [result['title'] for result in info['results']] == ['result', 'ground truth']
    assert info['events'] == [dict(frame=4, kind='switch', truth=3, found=11)]


@pytest.mark.parametrize(
    'number, size, message',
    [
        (8, (40, 60), 'no html is written: the results to compare with end before frame 6 of a <b> clip'),
        (6, (48, 60), 'no html is written: frame 0 of the results to compare with is (40, 60) (height, width), but'),
    ],
)
def test_results_of_another_video_leave_out_the_viewer(tmp_path, caplog, number, size, message):
    viewer = compared(tmp_path)
    frames = [(picture, panoptic(t, size=size)) for t, picture in enumerate(pictures(number, size))]
    written = write_results(
        frames, tmp_path / 'out', VideoInfo('a <b> clip', CLASSES, size, 10.0), ['html', 'csv'], viewer
    )
    assert set(written) == {'tracks.csv'} and message in caplog.text


def positions(page):
    return page.locator('#position').inner_text()


def click_pixel(page, x, y, pane=0, size=(40, 60)):
    """Clicks a pixel of the video."""
    box = page.locator('canvas.picture').nth(pane).bounding_box()
    scale = min(box['width'] / size[1], box['height'] / size[0])
    left = box['x'] + (box['width'] - size[1] * scale) / 2
    top = box['y'] + (box['height'] - size[0] * scale) / 2
    page.mouse.click(left + (x + 0.5) * scale, top + (y + 0.5) * scale)


def pixel(page, x, y, width=60):
    """The colour of a pixel of the video in the first picture, which may be enlarged."""
    script = """([x, y, width]) => {
        const canvas = document.querySelector('canvas.picture'), zoom = canvas.width / width;
        const [left, top] = [x, y].map((value) => Math.floor((value + 0.5) * zoom));
        return [...canvas.getContext('2d').getImageData(left, top, 1, 1).data];
    }"""
    return page.evaluate(script, [x, y, width])


def shows(page, text):
    page.wait_for_function('(text) => document.body.innerText.includes(text)', arg=text, timeout=5000)


def test_the_viewer_in_chromium(tmp_path):
    """Loads a result of 247 frames, scrubs, steps, clicks, filters, plays."""
    path, _ = write_viewer(tmp_path, number=247, make=lambda t: panoptic(t % 10), fps=50.0)
    with open_page() as page:
        page.goto(path.as_uri())
        page.wait_for_selector('body[data-ready]')
        assert page.locator('#title').inner_text() == 'a <b> clip' and 'frame 0 / 246' in positions(page)
        page.locator('#scrub').fill('123')
        shows(page, 'frame 123 / 246 · 2.46 s')
        page.keyboard.press('ArrowRight')
        shows(page, 'frame 124 / 246')
        page.keyboard.press('Shift+ArrowLeft')
        shows(page, 'frame 114 / 246')
        page.keyboard.press('Home')
        shows(page, 'frame 0 / 246')
        click_pixel(page, 12, 20)
        shows(page, 'car 3: visible, score 0.90; in 247 of 247 frames, from 0 to 246')
        page.mouse.move(0, 0)
        page.keyboard.press('Escape')
        page.wait_for_function("() => document.getElementById('selected').innerText === ''")
        page.locator('.row .name', has_text='person 7').click()
        shows(page, 'person 7: visible')
        assert page.locator('.row.chosen').count() == 1
        page.locator('.row .name', has_text='person 7').click()
        page.mouse.move(0, 0)
        page.locator('#names').uncheck()
        page.wait_for_timeout(200)
        before = pixel(page, 30, 4)
        page.locator('#classes button', has_text='sky').click()
        page.wait_for_timeout(200)
        after = pixel(page, 30, 4)
        assert before != after and page.locator('.row:visible').count() == 2
        # the picture itself is seen where its class is hidden, up to the compression of the video
        assert np.abs(np.array(after[:3]) - pictures(1)[0][4, 30]).max() < 45
        click_pixel(page, 30, 4)
        page.wait_for_timeout(100)
        assert page.locator('#selected').inner_text() == ''
        page.locator('#classes button', has_text='sky').click()
        page.keyboard.press('[')
        assert page.locator('#opacity').input_value() == '45'
        page.keyboard.press(' ')
        page.wait_for_function("() => Number(document.getElementById('scrub').value) > 10", timeout=10_000)
        page.keyboard.press(' ')
        number = int(re.search(r'frame (\d+)', positions(page)).group(1))
        assert 10 < number < 246
        page.keyboard.press('End')
        shows(page, 'frame 246 / 246')


def test_the_viewer_shows_the_frame_that_it_names(tmp_path):
    """Frames are grey levels, so that the picture tells which frame it is."""
    frames = []
    for t in range(20):
        picture = np.full((40, 60, 3), 20 + 10 * t, np.uint8)
        frames.append((picture, FrameResult((), (40, 60), id_map=np.zeros((40, 60), np.int32), index=t)))
    info = VideoInfo('grey', CLASSES, (40, 60), 10.0, times=[0.1 * t + (0.05 if t % 3 == 1 else 0) for t in range(20)])
    path = write_results(frames, tmp_path, info, ['html'])['viewer.html']
    with open_page() as page:
        page.goto(path.as_uri())
        page.wait_for_selector('body[data-ready]')
        for t in (0, 7, 8, 19, 3):
            page.locator('#scrub').fill(str(t))
            page.wait_for_timeout(250)
            assert round((pixel(page, 30, 20)[0] - 20) / 10) == t


def test_a_comparison_in_chromium_on_a_phone(tmp_path):
    path, _ = write_viewer(
        tmp_path / 'out', viewer=compared(tmp_path), make=lambda t: panoptic(t, ids=(3, 7) if t < 4 else (11, 7))
    )
    with open_page(390, 800) as page:
        page.goto(path.as_uri())
        page.wait_for_selector('body[data-ready]')
        first, second = (page.locator('canvas.picture').nth(k).bounding_box() for k in range(2))
        assert second['y'] > first['y'] + first['height'] - 1 and first['width'] > 350
        assert page.evaluate('document.documentElement.scrollWidth') <= 390
        page.keyboard.press('e')
        shows(page, 'frame 4 / 5')
        shows(page, 'car 3: visible')
        page.touchscreen.tap(first['x'] + first['width'] / 2, first['y'] + 10)
        shows(page, 'sky: visible')
        assert page.locator('.timeline').count() == 2


def test_ground_truth_is_read_in_the_format_of_vipseg(tmp_path):
    from mmdvis.datasets.toy.videos import write_toy_videos
    from mmdvis.result_files import PanopticGroundTruth, read_saved

    write_toy_videos(tmp_path, seed=3, num_train=1, num_val=2, num_workers=1, progress=False)
    path = tmp_path / 'panoptic_gt_VIPSeg_val.json'
    truth = read_saved(path, 'val_0001')
    assert isinstance(truth, PanopticGroundTruth) and truth.classes.names[:2] == ('disc', 'square')
    content = json.loads(path.read_text())
    frames = next(entry for entry in content['annotations'] if entry['video_id'] == 'val_0001')['annotations']
    assert len(truth) == len(frames)
    for t in (0, len(frames) - 1):
        listed = {entry['id']: (entry['area'], entry['category_id']) for entry in frames[t]['segments_info']}
        assert {s.id: (s.area, truth.classes.category_ids[s.label]) for s in truth[t].objects} == listed
    with pytest.raises(BadInputError, match='has no video val_0009; it has val_0000, val_0001'):
        read_saved(path, 'val_0009')
    (tmp_path / 'bad.json').write_text('[]')
    with pytest.raises(BadInputError, match='bad.json is not a VIPSeg-style panoptic ground-truth JSON'):
        read_saved(tmp_path / 'bad.json', 'val_0000')


@pytest.mark.parametrize('change', [dict(category_id=99), dict(id=None, category_id=None)])
def test_faults_of_saved_results_and_ground_truth_name_the_frame(toy_root, tmp_path, change):
    from mmdvis.result_files import read_saved

    path = Path(toy_root) / 'panoptic_gt_VIPSeg_val.json'
    content = json.loads(path.read_text())
    video = content['annotations'][0]
    video['annotations'][1]['segments_info'][0].update(change)
    (tmp_path / 'truth.json').write_text(json.dumps(content))
    (tmp_path / 'panomasksRGB').symlink_to(path.parent / 'panomasksRGB')
    truth = read_saved(tmp_path / 'truth.json', video['video_id'])
    assert truth[0].objects
    with pytest.raises(
        BadInputError, match=rf'truth.json, video {video["video_id"]}, frame 1: an object lacks a field'
    ):
        truth[1]
