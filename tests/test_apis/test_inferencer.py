"""Models by name, the inferencer, streams of NumPy frames, and the console command."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import supervision
import torch
from helpers.commands import ROOT
from PIL import Image

import mmdvis
from mmdvis.checkpoints import read_checkpoint
from mmdvis.checkpoints.zoo import EMBEDDED, model_entries
from mmdvis.cli import main as cli
from mmdvis.datasets.annotation_index import file_digest
from mmdvis.datasets.toy.scene import draw_scene, render
from mmdvis.errors import CheckpointError, DataError


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    """A folder of six frames of a synthetic video."""
    folder = tmp_path_factory.mktemp('sources') / 'shapes'
    folder.mkdir()
    rng = np.random.default_rng(3)
    scene = draw_scene(rng)
    for t in range(6):
        Image.fromarray(render(scene, t, rng)[0]).save(folder / f'{t}.png')
    return folder


@pytest.fixture(scope='module')
def model():
    return mmdvis.load('dvis-offline_toy', device='cpu')


def test_the_models_have_configs_and_the_embedded_weights_their_hash():
    entries = mmdvis.list_models()
    assert entries == model_entries() and {'dvis-offline_toy', 'dvis-online_toy', 'minvis_toy'} <= set(entries)
    assert all(entry.config.is_file() for entry in entries.values())
    (path,) = EMBEDDED.glob('*.pth')
    assert file_digest(path)[:8] == path.stem.split('-')[-1] and path.stat().st_size < 12e6
    content = read_checkpoint(path)
    assert {'command', 'commit', 'seed'} <= set(content['meta']['published'])
    assert {value.dtype for value in content['state_dict'].values() if value.is_floating_point()} == {torch.float16}


@pytest.mark.parametrize('name, stages', [('minvis_toy', 1), ('dvis-online_toy', 2), ('dvis-offline_toy', 3)])
def test_names_load_the_stages_of_their_model(name, stages):
    loaded = mmdvis.load(name, device='cpu')
    assert len(loaded.model.parts()) == stages and 'disc' in loaded.classes


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(model='dvis-offlin_toy'), 'there is no model dvis-offlin_toy; give a config, a checkpoint, or a name'),
        (dict(model='mask2former_r50_8xb2-368k_coco-panoptic'), 'no weights of mask2former_r50_.* are published'),
        (dict(model='nothing.pth'), 'there is no file nothing.pth'),
        (dict(model=__file__), 'is a config, so weights are needed as well'),
    ],
)
def test_what_cannot_be_loaded_is_explained(arguments, message):
    with pytest.raises(CheckpointError, match=message):
        mmdvis.load(**arguments)


def test_a_missing_gpu_is_explained():
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device must be 'auto' or 'cpu', because torch finds no CUDA device"):
            mmdvis.load(device='cuda')


@pytest.mark.smoke
def test_five_lines_segment_a_video(model, clip):
    frames = list(model(clip))
    assert [frame.index for frame in frames] == list(range(6)) == list(range(len(model(clip))))
    for frame in frames:
        assert frame.image.shape == (96, 160, 3) and frame.objects
        for segment in frame.objects:
            assert segment.mask.shape == (96, 160) and segment.mask.sum() == segment.area
            assert segment.name in model.classes and 0 <= segment.score <= 1
    names = {segment.name for frame in frames for segment in frame.objects}
    counts = model(clip).counts()
    assert set(counts) == names and min(counts.values()) >= 1


def test_a_stream_of_single_frames_equals_the_video(clip):
    model = mmdvis.load('minvis_toy', device='cpu')
    whole = list(model(clip))
    rgb, bgr = model.stream(), model.stream(channels='bgr')
    for frame in whole:
        for pushed in (rgb.push(frame.image), bgr.push(frame.image[..., ::-1])):
            assert np.array_equal(pushed.id_map, frame.id_map) and pushed.index == frame.index
    with pytest.raises(ValueError, match=r'a frame must be a uint8 array \(height, width, 3\), got float64'):
        rgb.push(np.zeros((4, 4, 3)))
    with pytest.raises(ValueError, match="channels must be 'rgb' or 'bgr', got 'gray'"):
        model.stream('gray')


def test_frames_become_detections_of_supervision(model, clip):
    frame = next(iter(model(clip)))
    detections = frame.to_supervision()
    assert isinstance(detections, supervision.Detections) and len(detections) == len(frame.objects)
    for k, segment in enumerate(frame.objects):
        assert tuple(detections.xyxy[k]) == segment.box and np.array_equal(detections.mask[k], segment.mask)
        assert (detections.tracker_id[k], detections.class_id[k]) == (segment.id, segment.label)
        assert detections.data['class_name'][k] == segment.name


def test_run_writes_each_source_into_its_own_folder(clip, tmp_path, capsys):
    bad = tmp_path / 'empty'
    bad.mkdir()
    code = cli.main(
        [
            'run',
            str(clip),
            str(bad),
            '--model',
            'dvis-offline_toy',
            '--out',
            str(tmp_path / 'out'),
            '--device',
            'cpu',
            '--offline',
        ]
    )
    output = capsys.readouterr()
    assert code == 1 and f'error: {bad}: {bad} contains no image' in output.err
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == ['shapes']
    assert (tmp_path / 'out' / 'shapes' / 'video.mp4').stat().st_size
    result = json.loads((tmp_path / 'out' / 'shapes' / 'result.json').read_text())
    assert result['num_frames'] == 6 and any(frame['segments_info'] for frame in result['frames'])


def test_run_explains_sources_that_cannot_be_told_apart(clip, tmp_path):
    for sources, message in (
        ([clip, clip], 'two sources are called shapes'),
        ([tmp_path / '*.mp4'], 'no file matches'),
    ):
        with pytest.raises(SystemExit, match=message):
            cli.main(['run', *map(str, sources), '--out', str(tmp_path / 'out')])


def test_models_are_listed_and_described(capsys):
    assert cli.main(['models']) == 0 and 'dvis-offline_toy' in capsys.readouterr().out
    assert cli.main(['models', 'minvis_toy']) == 0
    text = capsys.readouterr().out
    assert 'Apache-2.0' in text and 'VPQ 70.6' in text and 'dvis_toy-' in text


def test_help_loads_neither_torch_nor_mmdet():
    code = (
        'import sys; from mmdvis.cli.main import main\n'
        'try: main(["--help"])\n'
        'except SystemExit: print(sorted({"torch", "mmdet", "mmengine"} & set(sys.modules)))'
    )
    output = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout
    assert output.strip().endswith('[]') and 'segment videos' in output


def test_a_second_pass_reads_what_was_kept(model, clip, monkeypatch):
    video = model(clip)
    first = list(video)
    monkeypatch.setattr(type(model.model), 'stream', None)  # nothing may be segmented again
    second = list(video)
    for one, other in zip(first, second):
        assert np.array_equal(one.id_map, other.id_map) and np.array_equal(one.image, other.image)
        assert one.objects == other.objects and one.index == other.index
    assert len(second) == 6 and sum(video.counts().values()) > 3


def test_an_iteration_that_was_left_early_is_not_kept(model, clip):
    video = model(clip)
    next(iter(video))
    assert [frame.index for frame in video] == list(range(6))


def test_arrays_images_and_lists_are_sources(model, clip):
    frames = np.stack([frame.image for frame in model(clip)])
    from_array = [frame.id_map for frame in model(frames)]
    assert all(np.array_equal(a, frame.id_map) for a, frame in zip(from_array, model(clip)))
    assert [frame.image_size for frame in model(frames[0])] == [(96, 160)]
    assert [frame.image_size for frame in model(clip / '0.png')] == [(96, 160)]
    one, two = model([frames[:2], clip])
    assert (len(one), len(two)) == (2, 6)
    for wrong in (frames.astype(float), frames[..., :2], frames[:0], frames[0, 0]):
        with pytest.raises(DataError, match=r'an array must be uint8 \(height, width, 3\) or \(frames'):
            model(wrong)


def test_threads_share_a_model(model, clip):
    """Two videos in two threads, and two streams of single frames, equal the serial run."""
    frames = np.stack([frame.image for frame in model(clip)])
    videos = [frames, frames[::-1].copy()]
    serial = [[frame.id_map for frame in model(video)] for video in videos]
    online = mmdvis.load('dvis-online_toy', device='cpu')

    def pushed(video):
        stream = online.stream()
        return [stream.push(image).id_map for image in video]

    serial_pushed = [pushed(video) for video in videos]
    with ThreadPoolExecutor(2) as pool:
        threaded = list(pool.map(lambda video: [frame.id_map for frame in model(video)], videos))
        threaded_pushed = list(pool.map(pushed, videos))
    for expected, found in ((serial, threaded), (serial_pushed, threaded_pushed)):
        for one, other in zip(expected, found):
            assert all(np.array_equal(a, b) for a, b in zip(one, other)) and len(one) == len(other)


def test_the_inferencer_is_registered_as_mmengine_expects(clip, tmp_path):
    from mmengine.infer import BaseInferencer
    from mmengine.registry import INFERENCERS

    inferencer = INFERENCERS.build(dict(type='mmdvis.VideoSegInferencer', model='minvis_toy', device='cpu'))
    assert isinstance(inferencer, BaseInferencer)
    video = inferencer(str(clip))
    drawn = list(inferencer.visualize(None, video, alpha=0.3))
    assert len(drawn) == 6 and drawn[0].shape == (96, 160, 3) and not np.array_equal(drawn[0], next(iter(video)).image)
    written = inferencer.postprocess(video, None, out_dir=tmp_path, save=['csv'])
    assert set(written) == {'tracks.csv'}
    assert 'minvis_r50_8xb1-t1-20k_vipseg-720p' in BaseInferencer.list_models('mmdvis')


def test_what_is_saved_equals_what_is_iterated(model, clip, tmp_path):
    video = model(clip, classes=['Disc', 'sky', 'plus', 'square'])
    written = video.save(tmp_path / 'out', ['json', 'masks'])
    result = json.loads(written['result.json'].read_text())
    for frame, entry in zip(video, result['frames']):
        assert [info['id'] for info in entry['segments_info']] == [segment.id for segment in frame.objects]
        assert {info['category'] for info in entry['segments_info']} <= {'disc', 'sky', 'plus', 'square'}
        pixels = np.asarray(Image.open(written['panoptic'] / entry['file_name'])).astype(int)
        assert np.array_equal(pixels @ (1, 256, 65536), frame.id_map)


TYPED = """
import mmdvis

model = mmdvis.load()
video = model('clip.mp4')
for frame in video:
    for obj in frame.objects:
        reveal_type(obj.mask)
        reveal_type(obj.score)
    reveal_type(frame.index)
reveal_type(video.counts())
reveal_type(model(['a.mp4', 'b.mp4']))
"""


@pytest.mark.slow
def test_mypy_knows_the_types_of_results(tmp_path):
    (tmp_path / 'use.py').write_text(TYPED)
    done = subprocess.run(
        [sys.executable, '-m', 'mypy', '--config-file', str(ROOT / 'pyproject.toml'), str(tmp_path / 'use.py')],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    shown = [line.split('Revealed type is ')[1] for line in done.stdout.splitlines() if 'Revealed type' in line]
    assert len(shown) == 5 and 'ndarray' in shown[0] and 'float | None' in shown[1], done.stdout
    assert 'int' in shown[2] and 'dict[' in shown[3] and 'list[' in shown[4] and 'SegmentedVideo' in shown[4]
    assert done.returncode == 0, done.stdout
