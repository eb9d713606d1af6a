"""Every kind of result file, read back by a reader that others wrote, or by its definition."""

import csv
import json
from dataclasses import replace

import av
import numpy as np
import pytest
from helpers.results import CLASSES, MAKERS, SIZE, pictures, same
from PIL import Image
from pycocotools import mask as coco_mask

from mmdvis.datasets import YouTubeVISDataset
from mmdvis.errors import BadInputError, DataError
from mmdvis.result_files import KINDS, SavedResults, VideoInfo, variable_times, write_results
from mmdvis.result_files.mask_pngs import davis_palette
from mmdvis.results import ClassInfo, FrameResult
from mmdvis.results.frame_result import map_objects
from mmdvis.visualization import ResultVisualizer

T = 4


def info(**options):
    return VideoInfo(**dict(dict(name='street', classes=CLASSES, size=SIZE, fps=10.0), **options))


def write(folder, kinds, task='vps', number=T, **options):
    frames = [(picture, MAKERS[task](t)) for t, picture in enumerate(pictures(number))]
    return write_results(frames, folder, info(**options), kinds), frames


@pytest.mark.parametrize('task', MAKERS)
def test_all_kinds_for_all_tasks(tmp_path, task):
    written, _ = write(tmp_path / 'out', list(KINDS), task)
    maps = dict(vps='panoptic', vis='instance', vss='semantic')[task]
    expected = {'video.mp4', maps, 'result.json', 'tracks.csv', 'mot.txt', 'mots.txt', 'coco.json', 'davis', 'crops'}
    assert set(written) == expected | {'viewer.html'} == {path.name for path in (tmp_path / 'out').iterdir()}


@pytest.mark.parametrize('task', MAKERS)
def test_json_and_masks_are_read_back(tmp_path, task):
    _, frames = write(tmp_path / 'out', ['json', 'masks'], task)
    saved = SavedResults(tmp_path / 'out')
    assert len(saved) == T and saved.classes == CLASSES
    for t, (_, result) in enumerate(frames):
        same(saved[t], result)


def test_masks_of_instances_show_the_best_one(tmp_path):
    _, frames = write(tmp_path / 'out', ['masks'], 'vis')
    pixels = np.asarray(Image.open(tmp_path / 'out' / 'instance' / '00000001.png')).astype(int)
    car, person = frames[1][1].objects
    assert np.array_equal(pixels[..., 0] == 4, car.mask)
    assert np.array_equal(pixels[..., 0] == 9, person.mask & ~car.mask)


def test_the_csv_has_a_line_for_each_object(tmp_path):
    _, frames = write(tmp_path / 'out', ['csv'])
    with open(tmp_path / 'out' / 'tracks.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    segments = [(t, segment) for t, (_, result) in enumerate(frames) for segment in result.objects]
    assert len(rows) == len(segments) == 11
    for row, (t, segment) in zip(rows, segments):
        assert (int(row['frame']), float(row['time'])) == (t, t / 10)
        assert (int(row['id']), row['category']) == (segment.id, segment.name)
        assert tuple(int(row[name]) for name in ('x1', 'y1', 'x2', 'y2')) == segment.box
        assert int(row['area']) == segment.mask.sum() and float(row['score']) == pytest.approx(segment.score)
        assert int(row['category_id']) == CLASSES.category_ids[segment.label]


def test_mot_boxes_as_the_definition_of_motchallenge_says(tmp_path):
    _, frames = write(tmp_path / 'out', ['mot'])
    lines = [line.split(',') for line in (tmp_path / 'out' / 'mot.txt').read_text().splitlines()]
    assert len(lines) == 7 and all(len(line) == 10 for line in lines)
    assert [float(value) for value in lines[0]] == [1, 3, 6, 16, 15, 10, 0.9, -1, -1, -1]  # frames and pixels from 1
    assert {int(line[1]) for line in lines} == {3, 7} and [int(line[0]) for line in lines] == [1, 1, 2, 2, 3, 4, 4]


def test_mots_holds_the_masks_of_the_objects(tmp_path):
    _, frames = write(tmp_path / 'out', ['mots'], number=6)
    lines = [line.split() for line in (tmp_path / 'out' / 'mots.txt').read_text().splitlines()]
    found = {}
    for frame, _, _, height, width, counts in lines:
        mask = coco_mask.decode(dict(size=[int(height), int(width)], counts=counts.encode())).astype(bool)
        found.setdefault(int(frame), []).append(mask)
    expected = {t: [s.mask for s in result.objects if s.is_thing] for t, (_, result) in enumerate(frames)}
    assert len(lines) == 11 and found.keys() == {t for t, masks in expected.items() if masks}
    for t, masks in found.items():
        assert sorted(m.tobytes() for m in masks) == sorted(m.tobytes() for m in expected[t])


def test_mots_is_read_by_trackeval(tmp_path):
    """Against ground truth that is the file itself, TrackEval finds no error."""
    trackeval = pytest.importorskip('trackeval')
    written, _ = write(tmp_path / 'out', ['mots'], number=6)
    text = written['mots.txt'].read_text()
    frames = [line.split() for line in text.splitlines()]
    assert {(line[1], line[2]) for line in frames} == {('1000', '1'), ('2000', '2')}
    for folder in ('gt/label_02', 'trackers/mmdvis/data'):
        (tmp_path / folder).mkdir(parents=True)
        for name in ('0000', '0001'):
            (tmp_path / folder / f'{name}.txt').write_text(text)
    (tmp_path / 'gt' / 'evaluate_mots.seqmap.val').write_text('0000 empty 000000 000006\n0001 empty 000000 000006\n')
    config = dict(
        GT_FOLDER=str(tmp_path / 'gt'),
        TRACKERS_FOLDER=str(tmp_path / 'trackers'),
        OUTPUT_FOLDER=str(tmp_path / 'scores'),
        SPLIT_TO_EVAL='val',
        PRINT_CONFIG=False,
    )
    dataset = trackeval.datasets.KittiMOTS(config)
    raw = dataset.get_raw_seq_data('mmdvis', '0000')
    for name in ('car', 'pedestrian'):
        data = dataset.get_preprocessed_seq_data(raw, name)
        metric = trackeval.metrics.HOTA()
        scores = metric.eval_sequence(data)
        assert scores['HOTA'].min() == 1 and data['num_gt_dets'] == (6 if name == 'car' else 5)


@pytest.mark.parametrize('task', ['vps', 'vis'])
def test_the_coco_video_is_a_youtube_vis_dataset(tmp_path, task):
    written, frames = write(tmp_path / 'out', ['coco'], task)
    content = json.loads(written['coco.json'].read_text())
    assert [category['name'] for category in content['categories']] == list(CLASSES.names)
    (video,) = content['videos']
    assert (video['height'], video['width'], video['length']) == (*SIZE, T)
    for annotation in content['annotations']:
        for t, code in enumerate(annotation['segmentations']):
            segment = next((s for s in frames[t][1].objects if s.id == annotation['id']), None)
            assert (segment is None) == (code is None)
            if segment is not None:
                assert np.array_equal(coco_mask.decode(code).astype(bool), segment.mask)
                assert annotation['areas'][t] == coco_mask.area(code) == segment.area
                assert annotation['bboxes'][t] == coco_mask.toBbox(code).tolist()
    for name in video['file_names']:
        (tmp_path / 'images' / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(frames[0][0]).save(tmp_path / 'images' / name)
    dataset = YouTubeVISDataset(
        data_root=str(tmp_path),
        ann_file='out/coco.json',
        data_prefix=dict(img='images'),
        class_list=None,
        clip=dict(num_frames=T),
        pipeline=[],
    )
    assert len(dataset) == 1 and tuple(dataset.metainfo['classes']) == CLASSES.names


def test_annotations_of_the_coco_video_are_numbered_from_1(tmp_path):
    """Also for semantic segmentation, where identities are class labels, which begin at 0."""
    written, frames = write(tmp_path / 'out', ['coco'], 'vss')
    ids = [annotation['id'] for annotation in json.loads(written['coco.json'].read_text())['annotations']]
    labels = {segment.id for _, result in frames for segment in result.objects}
    assert ids == [label + 1 for label in sorted(labels)] and 0 in labels
    frames = [(picture, replace(result, objects=[s for s in result.objects if s.id])) for picture, result in frames]
    written = write_results(frames, tmp_path / 'other', info(), ['coco'])
    ids = [annotation['id'] for annotation in json.loads(written['coco.json'].read_text())['annotations']]
    assert ids == [label + 1 for label in sorted(labels - {0})]


def test_the_coco_video_has_mean_scores_and_the_class_of_most_frames(tmp_path):
    frames = []
    for t, (label, score) in enumerate([(0, 0.5), (1, 0.7), (1, 0.9)]):
        id_map = np.full((4, 6), 5, np.int32)
        entry = dict(value=5, id=5, label=label, name=CLASSES.names[label], score=score, is_thing=True)
        frames.append(
            (np.zeros((4, 6, 3), np.uint8), FrameResult(map_objects(id_map, [entry]), (4, 6), id_map=id_map, index=t))
        )
    written = write_results(frames, tmp_path / 'out', info(size=(4, 6)), ['coco'])
    (annotation,) = json.loads(written['coco.json'].read_text())['annotations']
    assert (annotation['score'], annotation['category_id'], annotation['length']) == (0.7, 2, 3)


def test_davis_pngs_are_palette_images(tmp_path):
    _, frames = write(tmp_path / 'out', ['davis'])
    image = Image.open(tmp_path / 'out' / 'davis' / '00001.png')
    assert image.mode == 'P'
    # the first colours of the published palette of PASCAL VOC and DAVIS
    assert image.getpalette()[:15] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128]
    numbers = np.asarray(image)
    objects = json.loads((tmp_path / 'out' / 'davis' / 'objects.json').read_text())
    assert [(o['number'], o['id'], o['category']) for o in objects] == [(1, 3, 'car'), (2, 7, 'person')]
    for entry in objects:
        segment = next(s for s in frames[1][1].objects if s.id == entry['id'])
        assert np.array_equal(numbers == entry['number'], segment.mask)
    assert set(np.unique(numbers)) == {0, 1, 2}


def test_the_palette_of_davis():
    colours = np.array(davis_palette()).reshape(-1, 3).tolist()
    assert len(colours) == 256 == len(set(map(tuple, colours)))
    assert colours[8] == [64, 0, 0] and colours[20] == [0, 64, 128] and colours[255] == [224, 224, 192]


def test_more_objects_than_a_palette_has_leave_out_this_kind_only(tmp_path, caplog):
    id_map = np.arange(300, dtype=np.int32).reshape(15, 20)
    entries = [dict(value=k, id=k, label=0, name='car', score=1.0, is_thing=True) for k in range(1, 300)]
    result = FrameResult(map_objects(id_map, entries), (15, 20), id_map=id_map)
    frames = [(np.zeros((15, 20, 3), np.uint8), result)] * 3
    written = write_results(frames, tmp_path / 'out', info(size=(15, 20)), ['davis', 'csv'])
    assert set(written) == {'tracks.csv'} and len(written['tracks.csv'].read_text().splitlines()) == 1 + 3 * 299
    assert 'no davis is written: street has more than 255 objects' in caplog.text
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['tracks.csv']


def test_a_video_without_frames_leaves_nothing(tmp_path):
    with pytest.raises(DataError, match='street has no frame, so no results are written'):
        write_results([], tmp_path / 'out', info(), list(KINDS))
    assert not (tmp_path / 'out').exists()


def test_an_error_while_closing_closes_the_others(tmp_path, monkeypatch):
    closed = []
    for name in ('TrackCsv', 'MotText', 'FrameJson'):
        kind = next(value for value in KINDS.values() if value.__name__ == name)
        original = kind.close
        monkeypatch.setattr(
            kind, 'close', lambda self, ok, o=original, n=name: (closed.append(n), o(self, ok), 1 / (n != 'TrackCsv'))
        )
    with pytest.raises(ZeroDivisionError):
        write(tmp_path / 'out', ['csv', 'mot', 'json'])
    assert closed == ['TrackCsv', 'MotText', 'FrameJson'] and not (tmp_path / 'out').exists()


def test_old_masks_of_another_task_are_not_read(tmp_path):
    write(tmp_path / 'out', ['json', 'masks'], 'vss')
    _, frames = write(tmp_path / 'out', ['json', 'masks'], 'vps')
    assert (tmp_path / 'out' / 'semantic').exists()
    same(SavedResults(tmp_path / 'out')[1], frames[1][1])


def test_crops_are_cut_out(tmp_path):
    classes = ClassInfo(('traffic light', 'person', 'sky'), CLASSES.is_thing, CLASSES.category_ids, CLASSES.palette)
    _, frames = write(tmp_path / 'out', ['crops'], classes=classes)
    folders = sorted(path.name for path in (tmp_path / 'out' / 'crops').iterdir())
    assert folders == ['car_3', 'person_7']  # names come from the objects
    picture, result = frames[3]
    segment = next(s for s in result.objects if s.id == 3)
    crop = np.asarray(Image.open(tmp_path / 'out' / 'crops' / 'car_3' / '00000003.png'))
    x1, y1, x2, y2 = segment.box
    assert np.array_equal(crop[..., :3], picture[y1:y2, x1:x2])
    assert np.array_equal(crop[..., 3] == 255, segment.mask[y1:y2, x1:x2])
    assert len(list((tmp_path / 'out' / 'crops' / 'person_7').iterdir())) == 3


def decoded(path):
    with av.open(str(path)) as container:
        frames = [(float(frame.time), frame.to_ndarray(format='rgb24')) for frame in container.decode(video=0)]
        sound = [stream.codec_context.name for stream in container.streams.audio]
    return frames, sound


def test_the_video_shows_what_the_visualizer_draws(tmp_path):
    _, frames = write(tmp_path / 'out', ['video'], drawing=dict(alpha=0.9, hide=['names']))
    shown, sound = decoded(tmp_path / 'out' / 'video.mp4')
    visualizer = ResultVisualizer(CLASSES, alpha=0.9, hide=['names'])
    assert len(shown) == T and not sound
    for (time, frame), (t, (picture, result)) in zip(shown, enumerate(frames)):
        assert time == pytest.approx(t / 10, abs=1e-3)
        assert np.abs(frame.astype(int) - visualizer.draw(picture, result)).mean() < 6


def test_times_are_kept(tmp_path):
    times = [0.0, 0.3, 0.35, 1.0]
    write(tmp_path / 'out', ['video', 'csv'], times=times)
    shown, _ = decoded(tmp_path / 'out' / 'video.mp4')
    assert [time for time, _ in shown] == pytest.approx(times, abs=1e-3)
    assert '\n3,1.0,' in (tmp_path / 'out' / 'tracks.csv').read_text().replace('\r', '')


@pytest.mark.parametrize(
    'times, fps, expected',
    [(None, 10, False), ([0, 0.1, 0.2], 10, False), ([0, 0.103, 0.198], 10, False), ([0, 0.1, 0.4], 10, True)],
)
def test_only_irregular_times_are_variable(times, fps, expected):
    assert (variable_times(times, fps) is not None) is expected


def with_sound(path, codec, rate=44100):
    """A video of two seconds with a tone."""
    with av.open(str(path), 'w') as container:
        video = container.add_stream('libx264', rate=10)
        video.width, video.height, video.pix_fmt = 60, 40, 'yuv420p'
        audio = container.add_stream(codec, rate=rate)
        for picture in pictures(20):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format='rgb24')))
        tone = (0.3 * np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate)).astype(np.float32)
        for start in range(0, 2 * rate, 1024):
            frame = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], format='fltp', layout='mono')
            frame.sample_rate, frame.pts = rate, start
            container.mux(audio.encode(frame))
        container.mux(video.encode())
        container.mux(audio.encode())
    return path


@pytest.mark.parametrize('codec, name', [('aac', 'a.mp4'), ('pcm_s16le', 'a.mkv'), ('libmp3lame', 'a.mkv')])
def test_the_sound_of_the_source_is_kept(tmp_path, codec, name):
    source = with_sound(tmp_path / name, codec)
    write(tmp_path / 'out', ['video'], number=20, audio=source)
    with av.open(str(tmp_path / 'out' / 'video.mp4')) as container:
        (audio,) = container.streams.audio
        assert audio.codec_context.name == ('aac' if codec != 'libmp3lame' else 'mp3float')
        samples = np.concatenate([frame.to_ndarray().mean(0) for frame in container.decode(audio)])
    assert len(samples) == pytest.approx(2 * 44100, rel=0.05)
    spectrum = np.abs(np.fft.rfft(samples[4096:65536]))
    frequency = np.fft.rfftfreq(65536 - 4096, 1 / 44100)[spectrum.argmax()]
    assert frequency == pytest.approx(440, abs=3)


def test_sound_that_cannot_be_written_leaves_a_silent_video(tmp_path, caplog):
    source = with_sound(tmp_path / 'a.mkv', 'pcm_s16le', rate=6000)  # AAC has no such rate
    write(tmp_path / 'out', ['video'], number=20, audio=source)
    with av.open(str(tmp_path / 'out' / 'video.mp4')) as container:
        assert len(container.streams.video) == 1
    (tmp_path / 'text.mp4').write_text('no video')
    write(tmp_path / 'other', ['video'], audio=tmp_path / 'text.mp4')
    assert 'so the video is silent' in caplog.text and (tmp_path / 'other' / 'video.mp4').exists()


@pytest.mark.parametrize('when', ['frames', 'writer'])
def test_an_error_leaves_nothing(tmp_path, when, monkeypatch):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'tracks.csv').write_text('old')

    def frames():
        yield from [(picture, MAKERS['vps'](t)) for t, picture in enumerate(pictures(2))]
        if when == 'frames':
            raise KeyboardInterrupt

    if when == 'writer':
        monkeypatch.setattr(ResultVisualizer, 'draw', lambda *args: 1 / 0)
    with pytest.raises((KeyboardInterrupt, ZeroDivisionError)):
        write_results(frames(), tmp_path / 'out', info(), list(KINDS))
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['tracks.csv']
    assert (tmp_path / 'out' / 'tracks.csv').read_text() == 'old'


def test_unknown_kinds_are_refused_before_the_folder_is_made(tmp_path):
    with pytest.raises(ValueError, match="save must be 'video', .*'html', got 'gif'"):
        write(tmp_path / 'out', ['video', 'gif'])
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('content', [None, 'no json', '{"frames": []}'])
def test_folders_without_complete_results_are_named(tmp_path, content):
    if content is not None:
        (tmp_path / 'result.json').write_text(content)
    with pytest.raises(BadInputError, match='contains no complete result.json .*--save json masks'):
        SavedResults(tmp_path)
