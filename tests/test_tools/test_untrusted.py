"""Untrusted checkpoints at every entry point: payloads and truncated files are refused with one error message."""

import io
import os
import pickle
import sys
import threading
import warnings
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from helpers import tiny_config
from helpers.commands import load
from mmengine.config import Config
from PIL import Image

from mmdvis.apis import init_model
from mmdvis.checkpoints.mmengine_guard import guarded_torch_load
from mmdvis.engine.launch import load_config, make_runner
from mmdvis.models.detectors import DVIS
from mmdvis.registry import MODELS

REFUSED = {
    'payload': 'was not loaded: it holds objects other than tensors, numbers and arrays; only if you trust its author',
    'torn': 'is not a readable checkpoint',
}


class Payload:
    """Create a file when unpickled by an unsafe loader."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f'touch {self.path}',)


@pytest.fixture
def config(tmp_path, toy_root):
    return tiny_config.write(tmp_path, 'minvis', toy_root)


def bad_file(folder, kind, suffix, mark):
    """Write a checkpoint that contains a command, or a truncated one."""
    path = folder / f'bad{suffix}'
    content = (
        dict(state_dict=dict(x=np.ones(1000)), extra=Payload(mark))
        if kind == 'payload'
        else dict(state_dict={'x': np.ones(1000)} if suffix == '.pkl' else {'x': torch.ones(1000)})
    )
    path.write_bytes(pickle.dumps(content)) if suffix == '.pkl' else torch.save(content, path)
    if kind == 'torn':
        path.write_bytes(path.read_bytes()[:700])
    return path


def run(tool, monkeypatch, *words):
    """Run the main function of a tool and return its exit message."""
    monkeypatch.setattr(sys, 'argv', [tool, *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        sys.exit(load(tool).main())
    assert stop.value.code not in (0, None)
    return str(stop.value.code)


@pytest.mark.parametrize('kind', REFUSED)
@pytest.mark.parametrize('suffix', ['.pth', '.pkl'])
@pytest.mark.parametrize('tool', ['detectron2_to_mmdvis', 'mmdet_to_mmdvis'])
def test_converters(tmp_path, monkeypatch, kind, suffix, tool):
    path = bad_file(tmp_path, kind, suffix, tmp_path / 'mark')
    text = run(f'tools/model_converters/{tool}.py', monkeypatch, path, tmp_path / 'out.pth')
    assert text.startswith(f'error: {path} {REFUSED[kind]}') and '\n' not in text
    assert not (tmp_path / 'mark').exists() and not (tmp_path / 'out.pth').exists()


@pytest.mark.parametrize('kind', REFUSED)
@pytest.mark.parametrize('suffix', ['.pth', '.pkl'])
@pytest.mark.parametrize('entry', ['load_from', 'resume', 'test'])
def test_runners(tmp_path, monkeypatch, config, kind, suffix, entry):
    path = bad_file(tmp_path, kind, suffix, tmp_path / 'mark')
    words = dict(
        load_from=[config, '--cfg-options', f'load_from={path}'], resume=[config, '--resume', path], test=[config, path]
    )[entry]
    text = run(
        'tools/test.py' if entry == 'test' else 'tools/train.py', monkeypatch, *words, '--work-dir', tmp_path / 'work'
    )
    assert text.startswith(f'error: {path} {REFUSED[kind]}') and '\n' not in text
    assert not (tmp_path / 'mark').exists()


@pytest.mark.parametrize('kind', REFUSED)
def test_the_demo_and_the_model(tmp_path, monkeypatch, capsys, config, kind):
    path = bad_file(tmp_path, kind, '.pth', tmp_path / 'mark')
    (tmp_path / 'frames').mkdir()
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / 'frames' / '0.png')
    run('demo/video_demo.py', monkeypatch, tmp_path / 'frames', config, path, '--out', tmp_path / 'out')
    assert capsys.readouterr().err.startswith(f'error: {path} {REFUSED[kind]}')
    with pytest.raises(ValueError, match=REFUSED[kind]):
        init_model(str(config), str(path))
    assert not (tmp_path / 'mark').exists() and not (tmp_path / 'out').exists()


@pytest.mark.parametrize('kind', REFUSED)
def test_pretrained_parts_of_a_config(tmp_path, kind):
    """The unguarded ``init_cfg`` loader of mmengine would run the command."""
    import mmdvis.engine  # noqa: F401 (the import installs the guards)

    path = bad_file(tmp_path, kind, '.pth', tmp_path / 'mark')
    backbone = MODELS.build(dict(type='mmdet.ResNet', depth=18, init_cfg=dict(type='Pretrained', checkpoint=str(path))))
    with pytest.raises(ValueError, match=REFUSED[kind]):
        backbone.init_weights()
    assert not (tmp_path / 'mark').exists()


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.mark.parametrize('kind', REFUSED)
def test_pretrained_parts_from_an_address(tmp_path, monkeypatch, kind):
    """The unguarded mmengine would download the file and run the command."""
    bad_file(tmp_path, kind, '.pth', tmp_path / 'mark')
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Silent, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f'http://127.0.0.1:{server.server_address[1]}/bad.pth'
    backbone = MODELS.build(dict(type='mmdet.ResNet', depth=18, init_cfg=dict(type='Pretrained', checkpoint=address)))
    with pytest.raises(ValueError, match=REFUSED[kind]):
        backbone.init_weights()
    server.shutdown()
    assert not (tmp_path / 'mark').exists()


def test_a_good_buffer_is_read(tmp_path):
    """The other storage backends of mmengine pass a buffer to torch.load."""
    torch.save(dict(x=torch.ones(2)), tmp_path / 'good.pth')
    assert torch.equal(guarded_torch_load(io.BytesIO((tmp_path / 'good.pth').read_bytes()))['x'], torch.ones(2))


@pytest.fixture
def odd_file(tmp_path, config):
    """Checkpoint with valid weights and a command."""
    model = MODELS.build(Config.fromfile(config).model)
    torch.save(dict(state_dict=model.state_dict(), extra=Payload(tmp_path / 'mark')), tmp_path / 'odd.pth')
    return tmp_path / 'odd.pth'


def test_trust_lets_a_file_do_what_it_likes(tmp_path, config, odd_file):
    """``trust=True`` disables the checks, so the file may run code."""
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert isinstance(init_model(str(config), str(odd_file), trust=True), DVIS)
    assert (tmp_path / 'mark').exists()


def test_trust_of_a_run_is_not_written_down(tmp_path, config, odd_file):
    """The config saved in the work folder must not make later runs trust checkpoints."""
    settings = load_config(str(config), str(tmp_path / 'work'))
    make_runner(settings, trust=True).load_checkpoint(str(odd_file))
    assert (tmp_path / 'mark').exists() and not [key for key in settings if 'trust' in key]
    with pytest.raises(ValueError, match='odd.pth was not loaded'):
        make_runner(load_config(str(config), str(tmp_path / 'work')), trust=False).load_checkpoint(str(odd_file))


@pytest.mark.parametrize('tool', ['detectron2_to_mmdvis', 'mmdet_to_mmdvis'])
def test_trust_of_a_converter(tmp_path, monkeypatch, tool):
    path = tmp_path / 'odd.pkl'
    path.write_bytes(pickle.dumps(dict(model={'backbone.norm1.weight': np.ones(2)}, extra=Payload(tmp_path / 'mark'))))
    monkeypatch.setattr(sys, 'argv', [tool, str(path), str(tmp_path / 'out.pth'), '--trust'])
    load(f'tools/model_converters/{tool}.py').main()
    assert (tmp_path / 'mark').exists() and (tmp_path / 'out.pth').exists()
