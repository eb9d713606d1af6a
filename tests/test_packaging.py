"""The built distributions carry everything that an installation without the checkout needs."""

import os
import re
import runpy
import subprocess
import sys
import tarfile
import zipfile

import pytest
from helpers.commands import ROOT

from mmdvis.version import __version__

EXTRAS = ('all', 'dev', 'docs', 'efficientnet', 'export', 'hf', 'supervision', 'tests', 'web')


def run(*words, cwd, **environment):
    done = subprocess.run(
        list(map(str, words)), cwd=cwd, env=dict(os.environ, **environment), text=True, capture_output=True
    )
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    return done.stdout


def test_building_a_wheel_keeps_the_links_of_an_editable_installation(tmp_path, monkeypatch):
    (tmp_path / 'setup.py').write_text((ROOT / 'setup.py').read_text())
    (tmp_path / 'configs').mkdir()
    (tmp_path / 'mmdvis').mkdir()
    seen = []
    monkeypatch.setattr('setuptools.setup', lambda: seen.append((tmp_path / 'mmdvis/.mim/configs').is_symlink()))
    for word in ('develop', 'bdist_wheel'):
        monkeypatch.setattr(sys, 'argv', ['setup.py', word])
        runpy.run_path(str(tmp_path / 'setup.py'), run_name='__main__')
    assert seen == [True, False] and (tmp_path / 'mmdvis/.mim/configs').is_symlink()


@pytest.fixture(scope='module')
def distributions(tmp_path_factory):
    """Folder with a source archive, and a wheel that was built from it and not from the checkout."""
    pytest.importorskip('setuptools')
    folder = tmp_path_factory.mktemp('dist')
    names = run('git', 'ls-files', cwd=ROOT).splitlines()
    checkout = tmp_path_factory.mktemp('checkout')  # links of the editable installation stay as they are
    for name in names:
        if (ROOT / name).is_file() and not name.startswith('tests/'):
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            (checkout / name).write_bytes((ROOT / name).read_bytes())
    run(sys.executable, 'setup.py', '-q', 'sdist', '-d', folder, cwd=checkout)
    (archive,) = folder.glob('*.tar.gz')
    unpacked = tmp_path_factory.mktemp('unpacked')
    with tarfile.open(archive) as file:
        file.extractall(unpacked, filter='data')
    (source,) = unpacked.iterdir()
    run(sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation', '-w', folder, '.', cwd=source)
    return folder


@pytest.mark.slow
def test_an_installation_without_the_checkout_segments_a_video(distributions, tmp_path):
    (wheel,) = distributions.glob('*.whl')
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
        file.extractall(tmp_path / 'site')
    for part in (
        'mmdvis/.mim/configs/dvis/metafile.yml',
        'mmdvis/.mim/model-index.yml',
        'mmdvis/.mim/tools/train.py',
        'mmdvis/result_files/viewer/viewer.html',
        'mmdvis/py.typed',
    ):
        assert part in names or any(name.startswith(part.rsplit('.', 1)[0]) for name in names), part
    assert any(re.fullmatch(r'mmdvis/checkpoints/embedded/.*\.pth', name) for name in names)
    environment = dict(PYTHONPATH=str(tmp_path / 'site'))
    where = run(sys.executable, '-c', 'import mmdvis; print(mmdvis.__file__)', cwd=tmp_path, **environment)
    assert where.startswith(str(tmp_path))
    assert run(sys.executable, '-m', 'mmdvis', '--version', cwd=tmp_path, **environment) == f'mmdvis {__version__}\n'
    assert 'dvis-offline_toy' in run(sys.executable, '-m', 'mmdvis', 'models', cwd=tmp_path, **environment)
    run(
        sys.executable,
        '-m',
        'mmdvis',
        'data',
        'convert',
        'toy',
        'toy',
        '--num-train',
        '1',
        '--num-val',
        '1',
        cwd=tmp_path,
    )
    words = [
        'run',
        'toy/images/val_0000',
        '--model',
        'dvis-offline_toy',
        '--out',
        'out',
        '--save',
        'json',
        'masks',
        'html',
    ]
    run(sys.executable, '-m', 'mmdvis', *words, cwd=tmp_path, **environment)
    assert (tmp_path / 'out' / 'val_0000' / 'viewer.html').stat().st_size > 50_000
    config = tmp_path / 'mine.py'
    config.write_text("_base_ = 'mmdvis::toy/minvis_r18_1xb8-t1_toy.py'\n")
    code = f"import mmdvis.registry; from mmengine.config import Config; print(Config.fromfile('{config}').model.type)"
    assert run(sys.executable, '-c', code, cwd=tmp_path, **environment).strip() == 'DVIS'


@pytest.mark.slow
def test_the_metadata_has_the_extras(distributions):
    (wheel,) = distributions.glob('*.whl')
    with zipfile.ZipFile(wheel) as file:
        (name,) = [name for name in file.namelist() if name.endswith('.dist-info/METADATA')]
        text = file.read(name).decode()
    assert set(re.findall(r'^Provides-Extra: (\S+)', text, re.M)) == set(EXTRAS)
    assert f'Version: {__version__}' in text and 'License' in text


def test_constraints_cover_the_requirements():
    lines = (ROOT / 'requirements' / 'constraints.txt').read_text().splitlines()
    pinned = [line.split('==')[0] for line in lines if '==' in line]
    lower = {name.lower() for name in pinned}
    for name in ('runtime', 'mminstall', 'export', 'hf', 'web', 'supervision', 'docs'):
        for line in (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines():
            requirement = re.split(r'[<>=\[]', line)[0].strip().lower()
            assert requirement in lower, f'{name}.txt: {requirement}'


@pytest.mark.parametrize('name', ['cpu', 'cuda'])
def test_dockerfiles_have_known_instructions_and_existing_files(name):
    text = re.sub(r'\\\n', ' ', (ROOT / 'docker' / f'{name}.Dockerfile').read_text())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith('#')]
    known = {'FROM', 'RUN', 'WORKDIR', 'COPY', 'USER', 'ENTRYPOINT', 'CMD'}
    assert {line.split()[0] for line in lines} <= known and lines[0].startswith('FROM python:3.11')
    for path in re.findall(r'requirements/[\w.]+', text):
        assert (ROOT / path).is_file(), path
    for line in lines:
        if line.startswith('COPY'):
            assert all((ROOT / source).exists() for source in line.split()[1:-1])
    ignored = (ROOT / '.dockerignore').read_text().split()
    assert '.git' in ignored and 'requirements' not in ignored and 'mmdvis' not in ignored
