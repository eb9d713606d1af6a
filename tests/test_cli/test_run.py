"""The command ``mmdvis run``: every kind of source, options, several sources, processes and interruptions."""

import argparse
import csv
import http.server
import io
import json
import signal
import subprocess
import sys
import threading
import time
from functools import partial

import av
import numpy as np
import pytest
from helpers import tiny
from helpers.commands import ENVIRONMENT, ROOT, restore_interrupts
from helpers.videos import write_video
from PIL import Image

from mmdvis.apis import VideoSegInferencer
from mmdvis.cli import main as cli
from mmdvis.cli import run as command
from mmdvis.datasets.toy.scene import draw_scene, render
from mmdvis.errors import BadInputError
from mmdvis.io import VideoFileFrames

META = dict(classes=tuple('abcde'), num_things=3)
TASKS = dict(
    vps=tiny.PANOPTIC, vis=dict(type='InstancePostprocessor', max_num=4), vss=dict(type='SemanticPostprocessor')
)


def shapes(seed, number=6):
    rng = np.random.default_rng(seed)
    scene = draw_scene(rng)
    return [render(scene, t, rng)[0] for t in range(number)]


@pytest.fixture(autouse=True)
def small_models(monkeypatch):
    """Loads a model with random weights in place of those of the zoo; the name is the task."""

    def load(name, weights, device, options=None, trust=False, precision=None, compiled=False):
        config = dict(TASKS[name])
        if options:
            if name != 'vps':
                raise TypeError("unexpected keyword argument 'score_thr'")
            config['score_thr'] = options['model.postprocessor.score_thr']
        model = tiny.model('cosine', False, config, dataset_meta=META).eval()
        return VideoSegInferencer(model, short_edge=64, precision=precision, compiled=compiled)

    monkeypatch.setattr(command, 'load', load)


def run(*words, model='vps'):
    return cli.main(['run', *map(str, words), '--model', model])


def result(folder):
    return json.loads((folder / 'result.json').read_text())


@pytest.mark.parametrize('task', TASKS)
def test_a_file_a_folder_and_an_image_for_all_tasks(tmp_path, task):
    video = write_video(tmp_path / 'clip.mp4', shapes(0))
    folder = tmp_path / 'frames'
    folder.mkdir()
    for t, frame in enumerate(shapes(1)):
        Image.fromarray(frame).save(folder / f'{t}.png')
    Image.fromarray(shapes(2)[0]).save(tmp_path / 'photo.jpg')
    out = tmp_path / 'out'
    assert run(video, folder, tmp_path / 'photo.jpg', '--out', out, model=task) == 0
    assert [result(out / name)['num_frames'] for name in ('clip', 'frames', 'photo')] == [6, 6, 1]
    for name in ('clip', 'frames', 'photo'):
        with av.open(str(out / name / 'video.mp4')) as container:
            assert sum(1 for _ in container.decode(video=0)) == result(out / name)['num_frames']


def test_a_pattern_of_three_videos(tmp_path):
    for k in range(3):
        write_video(tmp_path / f'clip{k}.mp4', shapes(k))
    write_video(tmp_path / 'other.mp4', shapes(0))
    assert run(tmp_path / 'clip*.mp4', '--out', tmp_path / 'out', '--save', 'json', 'csv') == 0
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['clip0', 'clip1', 'clip2']
    written = {path.name for path in (tmp_path / 'out' / 'clip1').iterdir()}
    assert written == {'result.json', 'tracks.csv', '.complete'}


def test_a_piped_stream(tmp_path, monkeypatch):
    path = tmp_path / 'clip.mkv'
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=12)
        stream.width, stream.height, stream.pix_fmt = 160, 96, 'yuv420p'
        for frame in shapes(0, 25):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
        container.mux(stream.encode())
    monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    assert run('-', '--out', tmp_path / 'out') == 0
    assert result(tmp_path / 'out' / 'stdin')['num_frames'] == 25
    assert run(path, '--out', tmp_path / 'out') == 0
    piped, read = (result(tmp_path / 'out' / name)['frames'] for name in ('stdin', 'clip'))
    assert [frame['segments_info'] for frame in piped] == [frame['segments_info'] for frame in read]
    assert [frame['time'] for frame in piped] == pytest.approx([frame['time'] for frame in read], abs=2e-3)


def test_a_pipe_keeps_a_variable_rate(tmp_path, monkeypatch):
    times = [0.0, 0.1, 0.12, 0.7, 0.8, 1.5]
    path = write_video(tmp_path / 'phone.mp4', shapes(0), 10, times)
    monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    assert run('-', '--out', tmp_path / 'out', '--save', 'video', 'json') == 0
    with av.open(str(tmp_path / 'out' / 'stdin' / 'video.mp4')) as container:
        assert [frame.time for frame in container.decode(video=0)] == pytest.approx(times, abs=1e-3)


def test_a_stream_over_http(tmp_path):
    write_video(tmp_path / 'clip.mp4', shapes(0))
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f'http://127.0.0.1:{server.server_port}/clip.mp4'
        assert run(url, tmp_path / 'clip.mp4', '--out', tmp_path / 'out') == 0
        server.shutdown()
    (live,) = [path for path in (tmp_path / 'out').iterdir() if path.name.startswith('127.0.0.1')]
    one, other = (result(folder)['frames'] for folder in (live, tmp_path / 'out' / 'clip'))
    assert [frame['segments_info'] for frame in one] == [frame['segments_info'] for frame in other]


def test_offline_needs_a_known_end(tmp_path, monkeypatch, capsys):
    path = write_video(tmp_path / 'clip.mp4', shapes(0))
    monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    assert run('-', '--offline', '--out', tmp_path / 'out') == 1
    assert 'error: -: the standard input has no known end' in capsys.readouterr().err
    assert not (tmp_path / 'out' / 'stdin').exists()


def test_an_offline_video_keeps_to_its_memory(tmp_path, capsys, caplog):
    path = write_video(tmp_path / 'clip.mp4', shapes(0))
    results = {}
    caplog.set_level('INFO', 'mmdvis')
    for name, words in (('free', ()), ('tight', ('--max-memory', '5e-5')), ('none', ('--max-memory', '1e-6'))):
        code = run(path, '--offline', *words, '--out', tmp_path / name, '--save', 'json')
        results[name] = result(tmp_path / name / 'clip') if code == 0 else capsys.readouterr().err
    assert results['tight'] == results['free'] and 'for their queries alone' in results['none']
    assert 'features: disk' in caplog.text


def test_too_little_memory_for_a_later_scene_is_an_error_before_the_first(tmp_path):
    frames = [frame // 4 for frame in shapes(0, 3)] + [255 - frame // 4 for frame in shapes(5, 9)]
    path, model = write_video(tmp_path / 'clip.mp4', frames), command.load('vps', None, 'cpu')
    shown = []
    with pytest.raises(ValueError, match='9 frames need .* for their queries alone'):
        for frame in model(str(path), offline=True, on_cut='reset', max_memory=16000):
            shown.append(frame)
    assert not shown
    with pytest.raises(BadInputError, match='max_memory must be positive and requires offline=True'):
        model(str(path), max_memory=16000)


def test_a_variable_rate_keeps_its_timing(tmp_path):
    times = [0.0, 0.1, 0.12, 0.7, 0.8, 1.5]
    video = write_video(tmp_path / 'phone.mp4', shapes(0), 10, times)
    assert run(video, '--out', tmp_path / 'out', '--save', 'video', 'csv', 'json', 'html') == 0
    folder = tmp_path / 'out' / 'phone'
    with av.open(str(folder / 'video.mp4')) as container:
        assert [frame.time for frame in container.decode(video=0)] == pytest.approx(times, abs=1e-3)
    assert [frame['time'] for frame in result(folder)['frames']] == pytest.approx(times, abs=1e-3)


def test_classes_scores_and_looks(tmp_path):
    video = write_video(tmp_path / 'clip.mp4', shapes(0))
    run(video, '--out', tmp_path / 'all', '--save', 'csv', '--score-thr', 0.0)
    run(video, '--out', tmp_path / 'some', '--save', 'csv', '--classes', 'A', 'd', '--score-thr', 0.0)
    run(video, '--out', tmp_path / 'high', '--save', 'csv', '--score-thr', 0.3)

    def rows(name):
        with open(tmp_path / name / 'clip' / 'tracks.csv', newline='') as file:
            return list(csv.DictReader(file))

    everything = rows('all')
    assert {row['category'] for row in everything} - {'a', 'd'}
    assert rows('some') == [row for row in everything if row['category'] in ('a', 'd')]
    assert all(float(row['score']) >= 0.3 for row in rows('high'))
    options = ('--alpha', '0.2', '--hide', 'names', 'stuff', '--show', 'boxes')
    for name, words in (('plain', ()), ('drawn', options)):
        assert run(video, '--out', tmp_path / name, '--save', 'video', *words) == 0
    pictures = [VideoFileFrames(tmp_path / name / 'clip' / 'video.mp4').read(0, 1).int() for name in ('plain', 'drawn')]
    assert (pictures[0] - pictures[1]).abs().float().mean() > 1


def test_another_precision_changes_little(tmp_path, monkeypatch):
    video = write_video(tmp_path / 'clip.mp4', shapes(0))
    classes, loaded, load = {}, [], command.load
    monkeypatch.setattr(command, 'load', lambda *args, **options: loaded.append(options) or load(*args, **options))
    for precision in ('fp32', 'int8'):
        words = ('--precision', precision, '--save', 'masks', '--score-thr', 0.0)
        assert run(video, '--out', tmp_path / precision, *words) == 0
        assert loaded.pop() == dict(precision=precision, compiled=False)
        masks = sorted((tmp_path / precision / 'clip').rglob('*.png'))
        classes[precision] = np.stack([np.asarray(Image.open(path)) for path in masks])
    assert classes['fp32'].any() and (classes['fp32'] == classes['int8']).mean() > 0.9


def test_instances_have_a_score_by_default(tmp_path):
    video = write_video(tmp_path / 'clip.mp4', shapes(0))
    for name, words in (('default', []), ('all', ['--score-thr', '0'])):
        assert run(video, '--out', tmp_path / name, '--save', 'json', *words, model='vis') == 0
    scores = {
        name: [s['score'] for frame in result(tmp_path / name / 'clip')['frames'] for s in frame['segments_info']]
        for name in ('default', 'all')
    }
    assert scores['all'] and all(score >= 0.3 for score in scores['default'])
    assert len(scores['default']) == sum(score >= 0.3 for score in scores['all'])


@pytest.mark.parametrize('offline', [False, True])
def test_identities_are_reset_at_cuts(tmp_path, capsys, offline):
    dark = [frame // 4 for frame in shapes(0, 7)]
    bright = [255 - frame // 4 for frame in shapes(5, 5)]
    video = write_video(tmp_path / 'clip.mp4', [*dark, *bright])
    words = ['--offline'] if offline else []
    for mode in ('continue', 'reset'):
        assert run(video, '--out', tmp_path / mode, '--save', 'json', '--on-cut', mode, *words) == 0
        assert '1 scene cuts, at frame 7' in capsys.readouterr().out
    frames = result(tmp_path / 'reset' / 'clip')['frames']
    before = {s['id'] for frame in frames[:7] for s in frame['segments_info']}
    after = {s['id'] for frame in frames[7:] for s in frame['segments_info']}
    assert before and after and min(after) > max(before)
    frames = result(tmp_path / 'continue' / 'clip')['frames']
    before = {s['id'] for frame in frames[:7] for s in frame['segments_info']}
    assert before & {s['id'] for frame in frames[7:] for s in frame['segments_info']}


def test_a_result_is_compared_with_another(tmp_path):
    video = write_video(tmp_path / 'clip.mp4', shapes(0))
    run(video, '--out', tmp_path / 'truth', '--save', 'json', 'masks')
    for option in ('--compare', '--truth'):
        words = (option, tmp_path / 'truth' / 'clip', '--save', 'html', '--out', tmp_path / option)
        assert run(video, *words) == 0
        page = (tmp_path / option / 'clip' / 'viewer.html').read_text()
        assert '"title": "ground truth"' in page if option == '--truth' else '"title": "comparison"' in page
        assert ('"events": []' in page) == (option == '--truth')  # equal results have no error


def test_a_wrong_class_or_comparison_is_explained(tmp_path, capsys):
    video = write_video(tmp_path / 'clip.mp4', shapes(0))
    assert run(video, '--out', tmp_path / 'out', '--classes', 'dog') == 1
    assert 'error: ' in (text := capsys.readouterr().err) and 'has no class dog; its classes are a, b, c' in text
    assert run(video, '--out', tmp_path / 'out', '--save', 'html', '--truth', tmp_path) == 1
    assert 'contains no complete result.json' in capsys.readouterr().err
    assert not (tmp_path / 'out' / 'clip').exists()


def test_finished_sources_are_skipped_and_failures_listed(tmp_path, capsys):
    for k in range(3):
        write_video(tmp_path / f'clip{k}.mp4', shapes(k))
    (tmp_path / 'clip1.mp4').write_text('damaged')
    words = (tmp_path / 'clip*.mp4', '--out', tmp_path / 'out', '--save', 'csv', '--skip-finished')
    assert run(*words) == 1
    assert 'clip1.mp4 cannot be read as a video' in capsys.readouterr().err
    before = (tmp_path / 'out' / 'clip0' / 'tracks.csv').stat().st_mtime_ns
    write_video(tmp_path / 'clip1.mp4', shapes(1))
    assert run(*words) == 0
    assert capsys.readouterr().out.count('skipped, because its results are complete') == 2
    assert (tmp_path / 'out' / 'clip0' / 'tracks.csv').stat().st_mtime_ns == before
    assert run(*words, '--save', 'csv', 'mot') == 0  # another kind is missing
    assert (tmp_path / 'out' / 'clip0' / 'mot.txt').exists()
    assert 'skipped' not in capsys.readouterr().out
    assert run(*words, '--save', 'mot') == 0
    assert capsys.readouterr().out.count('skipped') == 3
    assert (tmp_path / 'out' / 'clip1' / 'tracks.csv').exists()


@pytest.mark.parametrize(
    'launcher, names',
    [('pytorch', ('RANK', 'WORLD_SIZE', 'LOCAL_RANK')), ('slurm', ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'))],
)
def test_processes_share_the_sources(tmp_path, monkeypatch, launcher, names):
    for k in range(5):
        write_video(tmp_path / f'clip{k}.mp4', shapes(k, 2))
    done = []
    for rank in range(2):
        for name, value in zip(names, (rank, 2, 0)):
            monkeypatch.setenv(name, str(value))
        out = tmp_path / f'out{rank}'
        assert run(tmp_path / 'clip*.mp4', '--out', out, '--save', 'csv', '--launcher', launcher) == 0
        done.append(sorted(path.name for path in out.iterdir()))
    assert done == [['clip0', 'clip2', 'clip4'], ['clip1', 'clip3']]


@pytest.mark.parametrize('precision, device', [(None, 'cuda:1'), ('int8', 'auto')])
def test_processes_take_a_gpu_each_unless_the_model_needs_the_cpu(monkeypatch, precision, device):
    for name, value in (('RANK', '3'), ('WORLD_SIZE', '4'), ('LOCAL_RANK', '1')):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    monkeypatch.setattr('torch.cuda.device_count', lambda: 2)
    args = argparse.Namespace(launcher='pytorch', device='auto', precision=precision)
    assert command.share_of_process(['a', 'b', 'c', 'd'], args) == ['d'] and args.device == device


def test_a_failure_does_not_end_the_other_processes(tmp_path, monkeypatch, capsys):
    """torchrun stops all processes when one of them returns an error."""
    (tmp_path / 'bad.mp4').write_text('no video')
    for name, value in (('RANK', '0'), ('WORLD_SIZE', '1'), ('LOCAL_RANK', '0')):
        monkeypatch.setenv(name, value)
    assert run(tmp_path / 'bad.mp4', '--out', tmp_path / 'out', '--launcher', 'pytorch') == 0
    assert 'error: ' in capsys.readouterr().err


def test_any_error_of_a_source_spares_the_others(tmp_path, monkeypatch, capsys):
    from mmdvis.inference import VideoStream

    for k in range(2):
        write_video(tmp_path / f'clip{k}.mp4', shapes(k, 3))
    push, calls = VideoStream.push, []

    def failing(self, frames):
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError('CUDA out of memory')
        return push(self, frames)

    monkeypatch.setattr(VideoStream, 'push', failing)
    assert run(tmp_path / 'clip*.mp4', '--out', tmp_path / 'out') == 1
    assert 'clip0.mp4: RuntimeError: CUDA out of memory' in capsys.readouterr().err
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['clip1']


@pytest.mark.parametrize(
    'words, message',
    [
        (['--alpha', '2'], '--alpha must be from 0 to 1, got 2.0'),
        (['--fps', '0'], '--fps must be positive, got 0.0'),
        (['--max-size', '4'], '--max-size must be at least 16 pixels, got 4'),
        (['--short-edge', '-3'], '--short-edge must be at least 16 pixels, got -3'),
        (['--max-memory', '1'], '--max-memory must be positive and requires --offline, got 1.0'),
        (['--offline', '--max-memory', '0'], '--max-memory must be positive and requires --offline, got 0.0'),
    ],
)
def test_wrong_numbers_are_refused_at_once(tmp_path, words, message):
    with pytest.raises(SystemExit, match=message):
        run(tmp_path / 'a.mp4', '--out', tmp_path / 'out', *words)


def test_a_folder_of_videos_is_a_list_of_sources(tmp_path):
    for k in range(2):
        write_video(tmp_path / 'clips' / f'clip.v{k}.mp4', shapes(k, 2))
    assert run(tmp_path / 'clips', '--out', tmp_path / 'out', '--save', 'csv') == 0
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['clip.v0', 'clip.v1']


def test_several_sources_are_compared_with_folders_of_their_names(tmp_path):
    for k in range(2):
        write_video(tmp_path / f'clip{k}.mp4', shapes(k, 3))
    run(tmp_path / 'clip*.mp4', '--out', tmp_path / 'first', '--save', 'json', 'masks')
    words = ('--compare', tmp_path / 'first', '--save', 'html')
    assert run(tmp_path / 'clip*.mp4', '--out', tmp_path / 'second', *words) == 0
    assert '"title": "comparison"' in (tmp_path / 'second' / 'clip1' / 'viewer.html').read_text()


def test_a_comparison_of_another_length_is_refused(tmp_path, capsys):
    first = write_video(tmp_path / 'a.mp4', shapes(0, 3))
    second = write_video(tmp_path / 'b.mp4', shapes(0, 5))
    run(first, '--out', tmp_path / 'out', '--save', 'json', 'masks')
    assert run(second, '--out', tmp_path / 'out', '--save', 'html', '--compare', tmp_path / 'out' / 'a') == 1
    assert 'b has 5 frames, but ' in (text := capsys.readouterr().err) and ' has 3; give results of' in text


def test_a_launcher_that_is_not_there_is_explained(tmp_path, monkeypatch):
    monkeypatch.delenv('RANK', raising=False)
    with pytest.raises(SystemExit, match='needs the environment variable RANK, which is not set; start the command'):
        run('a.mp4', '--out', tmp_path, '--launcher', 'pytorch')


SIGNALS = [(signal.SIGTERM, 143), (signal.SIGHUP, 129)]


@pytest.mark.parametrize(
    'number, code', [(signal.SIGINT, 130), *(pytest.param(*each, marks=pytest.mark.slow) for each in SIGNALS)]
)
def test_a_signal_keeps_what_is_finished(tmp_path, number, code):
    """A real process gets a signal while it works on its second video."""
    write_video(tmp_path / 'a.mp4', shapes(0, 3))
    write_video(tmp_path / 'b.mp4', shapes(1, 60) * 6)
    words = ['run', str(tmp_path / 'a.mp4'), str(tmp_path / 'b.mp4'), '--out', str(tmp_path / 'out')]
    process = subprocess.Popen(
        [sys.executable, '-m', 'mmdvis', *words, '--model', 'minvis_toy', '--save', 'json', 'video', 'html'],
        cwd=ROOT,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=restore_interrupts,
    )
    second = tmp_path / 'out' / 'b'
    for _ in range(600):
        if second.exists() and any(second.glob('.part-*/.json/result.json')):
            break
        time.sleep(0.1)
    time.sleep(0.5)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code and 'the results of finished sources are kept' in errors
    assert 'Traceback' not in errors
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['a']
    assert {path.name for path in (tmp_path / 'out' / 'a').iterdir()} == {
        '.complete',
        'result.json',
        'video.mp4',
        'viewer.html',
    }


def test_an_interrupted_stream_is_finished(tmp_path, monkeypatch):
    """A live source ends when the user wants, so its results are written."""
    from mmdvis.io import LiveFrames

    path = write_video(tmp_path / 'clip.mp4', shapes(0, 30))
    monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    read, calls = LiveFrames.read, []

    def interrupted(self, number):
        calls.append(number)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return read(self, number)

    monkeypatch.setattr(LiveFrames, 'read', interrupted)
    assert run('-', '--out', tmp_path / 'out') == 0
    assert result(tmp_path / 'out' / 'stdin')['num_frames'] == 20


def test_help_and_lists_of_commands(capsys):
    for words, text in (
        (['--help'], 'segment videos, cameras, streams'),
        (['data', '--help'], 'convert an official release'),
        (['data', 'convert', '--help'], 'Cityscapes-VPS'),
        (['run', '--help'], '--on-cut'),
        (['train', '--help'], '--auto-scale-lr'),
        (['score', '--help'], 'TASK'),
    ):
        with pytest.raises(SystemExit) as stop:
            cli.main(words)
        assert stop.value.code == 0 and text in capsys.readouterr().out
