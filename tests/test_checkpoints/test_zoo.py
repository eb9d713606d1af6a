"""Names of models, and downloads from a server on this machine that serves random weights in published formats."""

import hashlib
import http.server
import threading
from dataclasses import replace
from pathlib import Path

import mmdet
import numpy as np
import pytest
import safetensors.torch
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope

import mmdvis
from mmdvis.checkpoints import downloads, zoo
from mmdvis.checkpoints.downloads import cached_path, download
from mmdvis.errors import CheckpointError

CONTENT = bytes(range(256)) * 4000


class Server(http.server.BaseHTTPRequestHandler):
    """Serves ``files``; can break off after some bytes, ignore ranges, or answer with an error."""

    files: dict = {}
    requests: list = []
    break_after: list = []  # number of bytes of each of the next answers; None: all
    ranges = True

    def do_GET(self):
        self.requests.append(self.headers.get('Range'))
        content = self.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        start = 0
        if self.ranges and self.headers.get('Range'):
            start = int(self.headers['Range'].removeprefix('bytes=').removesuffix('-'))
            if start >= len(content):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        self.send_header('Content-Length', str(len(content) - start))
        self.end_headers()
        number = self.break_after.pop(0) if self.break_after else None
        self.wfile.write(content[start:] if number is None else content[start : start + number])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv('MMDVIS_HOME', str(tmp_path / 'home'))
    handler = type('Handler', (Server,), dict(files={'/zoo/a.bin': CONTENT}, requests=[], break_after=[]))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        handler.url = f'http://127.0.0.1:{running.server_port}'
        yield handler
        running.shutdown()


SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.mark.parametrize('kind, start', [('sha256', SHA256[:8]), ('md5', MD5[:6]), ('sha256', '')])
def test_a_file_is_downloaded_once(server, kind, start):
    path = download(f'{server.url}/zoo/a.bin', kind, start, progress=False)
    assert path.read_bytes() == CONTENT and path == cached_path(f'{server.url}/zoo/a.bin')
    assert download(f'{server.url}/zoo/a.bin', kind, start) == path and server.requests == [None]
    assert [p.name for p in path.parent.iterdir() if not p.name.endswith('.lock')] == [path.name]


def test_an_interrupted_download_goes_on_where_it_stopped(server):
    server.break_after += [300_000, 500_000]
    path = download(f'{server.url}/zoo/a.bin', 'sha256', SHA256[:8], progress=False)
    assert path.read_bytes() == CONTENT
    assert server.requests == [None, 'bytes=300000-', 'bytes=800000-']


def test_a_later_call_resumes(server):
    server.break_after += [1000, 1000, 1000, 1000]
    url = f'{server.url}/zoo/a.bin'
    with pytest.raises(CheckpointError, match=r'cannot be downloaded \(the connection was lost\); download it with'):
        download(url, 'sha256', SHA256[:8], progress=False)
    partial = cached_path(url).with_name(cached_path(url).name + '.part')
    assert partial.stat().st_size == 4000 and not cached_path(url).exists()
    assert download(url, 'sha256', SHA256[:8], progress=False).read_bytes() == CONTENT
    assert server.requests[-1] == 'bytes=4000-'


def test_a_server_without_ranges_starts_again(server):
    server.ranges, server.break_after = False, [5000]
    assert download(f'{server.url}/zoo/a.bin', 'sha256', SHA256, progress=False).read_bytes() == CONTENT
    assert server.requests == [None, 'bytes=5000-']


def test_a_partial_file_that_is_too_long_is_replaced(server):
    url = f'{server.url}/zoo/a.bin'
    cached_path(url).parent.mkdir(parents=True)
    cached_path(url).with_name(cached_path(url).name + '.part').write_bytes(CONTENT + b'more')
    assert download(url, 'sha256', SHA256, progress=False).read_bytes() == CONTENT


def test_a_wrong_hash_is_refused_and_nothing_is_kept(server):
    url = f'{server.url}/zoo/a.bin'
    with pytest.raises(CheckpointError, match=rf'its sha256 begins with {SHA256[:4]} instead of beef'):
        download(url, 'sha256', 'beef', progress=False)
    assert [p.name for p in cached_path(url).parent.iterdir() if not p.name.endswith('.lock')] == []


def test_a_missing_file_is_explained(server):
    with pytest.raises(CheckpointError, match=r'b.bin cannot be downloaded \(the server answers 404 Not Found\)'):
        download(f'{server.url}/zoo/b.bin', progress=False)


def test_no_network_is_explained(server, monkeypatch):
    url = 'http://127.0.0.1:9/zoo/a.bin'
    with pytest.raises(CheckpointError, match=r'cannot be downloaded \(.*refused.*save it as .*zoo-a.bin, or give its'):
        download(url, progress=False)


def test_two_processes_download_once(server):
    paths = []
    threads = [
        threading.Thread(
            target=lambda: paths.append(download(f'{server.url}/zoo/a.bin', 'sha256', SHA256, progress=False))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(paths)) == 1 and len(paths) == 4 and server.requests == [None]


@pytest.mark.parametrize(
    'variables, expected',
    [
        (dict(MMDVIS_HOME='/a'), '/a'),
        (dict(TORCH_HOME='/t'), '/t/hub/mmdvis'),
        (dict(XDG_CACHE_HOME='/x'), '/x/torch/hub/mmdvis'),
    ],
)
def test_the_folder_of_the_cache(variables, expected, monkeypatch):
    for name in ('MMDVIS_HOME', 'TORCH_HOME', 'XDG_CACHE_HOME'):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(downloads.cache_folder()) == expected


def test_files_of_equal_names_do_not_meet():
    """The files of Mask2Former are called ``model.safetensors`` or ``model_final_*.pkl``."""
    entries = [entry for entry in zoo.model_entries().values() if entry.origin and entry.origin.weights]
    paths = [cached_path(entry.origin.weights) for entry in entries]
    assert len(paths) == len(set(paths)) > 20


def test_entries_say_what_a_user_must_know():
    entries = zoo.model_entries()
    known = [entry for entry in entries.values() if entry.licence]
    assert len(known) > 35 and zoo.DEFAULT in entries and zoo.EMBEDDED_MODEL in entries
    for entry in known:
        assert entry.task in ('VPS', 'VIS', 'VSS') and entry.num_classes and entry.verified and entry.parameters
        assert entry.config.is_file() and entry.short_edge
    for entry in known:
        if entry.origin and 'fbaipublicfiles' in (entry.origin.weights or '') + entry.origin.page:
            assert entry.licence == 'CC-BY-NC-4.0'
    assert entries[zoo.DEFAULT].licence == 'Apache-2.0'
    assert 'openmmlab' in entries[zoo.DEFAULT].origin.weights


def test_hashes_are_those_in_the_names_of_the_files():
    for entry in zoo.model_entries().values():
        if entry.origin and entry.origin.hash_start:
            assert entry.origin.weights.rsplit('.', 1)[0].endswith(entry.origin.hash_start)
            kind = 'md5' if 'fbaipublicfiles' in entry.origin.weights else 'sha256'
            assert entry.origin.hash_kind == kind and len(entry.origin.hash_start) == (6 if kind == 'md5' else 8)


def test_weights_without_an_address_say_where_to_find_them():
    entry = zoo.find_entry('dvis-plus-online_r50_vipseg')
    with pytest.raises(CheckpointError, match=r'download the file .* from https://huggingface.co/.*--weights'):
        entry.find_weights()


def test_the_default_is_the_embedded_model_without_a_network(server, monkeypatch):
    entries = zoo.model_entries()
    entry = entries[zoo.DEFAULT]
    broken = replace(entry, origin=replace(entry.origin, weights=f'{server.url}/nothing.pth'))
    monkeypatch.setattr(zoo, 'model_entries', lambda: dict(entries, **{zoo.DEFAULT: broken}))
    assert zoo.default_model() == zoo.EMBEDDED_MODEL
    good = replace(entry, origin=replace(entry.origin, weights=f'{server.url}/zoo/a.bin', hash_start=SHA256[:8]))
    monkeypatch.setattr(zoo, 'model_entries', lambda: dict(entries, **{zoo.DEFAULT: good}))
    assert zoo.default_model() == zoo.DEFAULT and good.weights.read_bytes() == CONTENT


def mmdet_file(path):
    """Random weights of the published R50 with the names of mmdet."""
    folder = Path(mmdet.__file__).parent / '.mim' / 'configs' / 'mask2former'
    settings = Config.fromfile(folder / 'mask2former_r50_8xb2-lsj-50e_coco-panoptic.py').model
    settings.backbone.pop('init_cfg', None)
    with DefaultScope.overwrite_default_scope('mmdet'):
        torch.save(dict(meta={}, state_dict=MODELS.build(settings).state_dict()), path)


def transformers_file(path):
    """Random weights of the published Swin-T with the names of transformers."""
    transformers = pytest.importorskip('transformers')
    swin = transformers.SwinConfig(
        image_size=224,
        embed_dim=96,
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        window_size=7,
        out_features=[f'stage{k}' for k in range(1, 5)],
    )
    settings = transformers.Mask2FormerConfig(backbone_config=swin, num_labels=133)
    weights = transformers.Mask2FormerForUniversalSegmentation(settings).state_dict()
    safetensors.torch.save_file({name: value.contiguous() for name, value in weights.items()}, path)


@pytest.mark.parametrize(
    'name, suffix, make',
    [
        ('minvis_r50_coco-panoptic', '.pth', mmdet_file),
        ('minvis_swin-t_coco-panoptic_hf', '.safetensors', transformers_file),
    ],
)
def test_a_name_is_downloaded_converted_and_run(server, tmp_path, monkeypatch, name, suffix, make):
    """The published config with random weights in the published format, and one interruption on the way."""
    make(tmp_path / f'file{suffix}')
    content = (tmp_path / f'file{suffix}').read_bytes()
    server.files[f'/zoo/file{suffix}'] = content
    server.break_after += [len(content) // 3]
    entries = zoo.model_entries()
    entry = entries[name]
    origin = replace(
        entry.origin, weights=f'{server.url}/zoo/file{suffix}', hash_start=hashlib.sha256(content).hexdigest()[:8]
    )
    monkeypatch.setattr(zoo, 'model_entries', lambda: dict(entries, **{name: replace(entry, origin=origin)}))
    model = mmdvis.load(name, device='cpu')
    assert server.requests == [None, f'bytes={len(content) // 3}-'] and model.short_edge == 480
    assert len(model.classes) == 133 and model.classes[:2] == ('person', 'bicycle') and 'rug-merged' in model.classes
    model.short_edge = 64
    frames = list(model(np.zeros((2, 64, 96, 3), np.uint8)))
    assert [frame.image_size for frame in frames] == [(64, 96)] * 2
    zoo.find_entry(name).find_weights()
    assert len(server.requests) == 2  # the second time, it is in the cache


@pytest.mark.parametrize(
    'make, suffix, name',
    [
        (mmdet_file, '.pth', 'minvis_r50_coco-panoptic'),
        (transformers_file, '.safetensors', 'minvis_swin-t_coco-panoptic'),
    ],
)
def test_files_of_other_projects_are_recognised_by_their_content(tmp_path, caplog, make, suffix, name):
    make(tmp_path / f'file{suffix}')
    model = mmdvis.load(tmp_path / f'file{suffix}', device='cpu')
    assert len(model.classes) == 133 and f'is used as {name}' in caplog.text


def test_files_that_fit_nothing_are_explained(tmp_path):
    torch.save(dict(state_dict={'segmenter.cls_embed.weight': torch.zeros(3, 4)}), tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match='a.pth does not contain its config and fits none of the models'):
        mmdvis.load(tmp_path / 'a.pth', device='cpu')
