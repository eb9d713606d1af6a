"""The documentation agrees with the files of the repository."""

import re

import pytest
import yaml
from helpers.commands import ROOT

PAGES = sorted(
    [
        ROOT / 'README.md',
        ROOT / 'CONTRIBUTING.md',
        ROOT / 'data' / 'README.md',
        ROOT / 'demo' / 'README.md',
        *(ROOT / 'docs').rglob('*.md'),
        *(ROOT / 'configs').rglob('*.md'),
    ]
)
METAFILES = sorted((ROOT / 'configs').rglob('metafile.yml'))


@pytest.mark.parametrize('page', PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r'\]\(([^)#\s]+)(?:#[^)]*)?\)', page.read_text()):
        if '://' not in target:
            assert (page.parent / target).exists(), f'{page}: {target}'


@pytest.mark.parametrize('page', PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_page_waits_to_be_filled_in(page):
    text = re.sub(r'<!-- figures: [\w -]+ -->\n\|', '|', page.read_text())  # the row that makes a table
    assert '<!--' not in text and 'TODO' not in text


@pytest.mark.parametrize('page', PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_that_pages_name_exist(page):
    for name in re.findall(
        r'(?:tools|configs|demo|tests|docs|benchmarks|data|mmdvis)/[\w./-]+\.(?:py|sh|md|yml)', page.read_text()
    ):
        assert (ROOT / name).exists(), f'{page}: {name}'


@pytest.mark.parametrize('path', METAFILES, ids=lambda p: p.parent.name)
def test_metafiles_name_configs(path):
    content = yaml.safe_load(path.read_text())
    collections = {c['Name'] for c in content['Collections']}
    for model in content['Models']:
        config = ROOT / model['Config']
        assert config.is_file() and config.stem == model['Name'] and model['In Collection'] in collections
    named = {model['Config'] for model in content['Models']}
    assert named == {str(p.relative_to(ROOT)) for p in path.parent.glob('*.py')}


def test_the_index_names_every_metafile():
    imported = yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']
    assert sorted(imported) == sorted(str(p.relative_to(ROOT)) for p in METAFILES)


def test_one_version():
    from mmdvis import __version__

    assert yaml.safe_load((ROOT / 'CITATION.cff').read_text())['version'] == __version__


def test_commands_of_the_readme_are_those_of_the_makefile():
    targets = set(re.findall(r'^([a-z-]+):', (ROOT / 'Makefile').read_text(), re.M))
    for page in PAGES:
        commands = re.findall(r'`make ([a-z-]+)|^make ([a-z-]+)', page.read_text(), re.M)
        assert {first or second for first, second in commands} <= targets, page
    assert 'demo' in targets and '\nmake demo' in (ROOT / 'README.md').read_text()


def test_no_path_of_a_machine_is_in_the_tree():
    import subprocess

    pattern = r'(^|[^A-Za-z0-9_.])/(home|root|Users)/'
    names = subprocess.run(
        ['git', 'ls-files', '*.py', '*.md', '*.sh', '*.yml'], cwd=ROOT, capture_output=True, text=True
    )
    if names.returncode:
        pytest.skip('this is not a git checkout')
    paths = [ROOT / name for name in names.stdout.splitlines() if (ROOT / name).is_file()]
    assert len(paths) > 300
    assert not [path for path in paths if path.name != 'test_docs.py' and re.search(pattern, path.read_text(), re.M)]


def test_the_dataset_index_is_what_configs_and_page_say():
    index = yaml.safe_load((ROOT / 'dataset-index.yml').read_text())
    page = (ROOT / 'data' / 'README.md').read_text()
    roots = {entry['data_root'] for entry in index.values() if isinstance(entry, dict)}
    for name, entry in index.items():
        if isinstance(entry, dict):
            assert entry['check'].endswith(entry['data_root']) and ('dataset' in entry or 'homepage' in entry), name
            assert (ROOT / entry.get('prepare', entry['check']).split()[1]).is_file()
    for path in (ROOT / 'configs' / '_base_' / 'datasets').glob('*.py'):
        named = re.search(r"^data_root = '(.*?)/?'", path.read_text(), re.M)
        if named:  # configs without data_root inherit it
            assert path.name in page and (named.group(1) in roots or path.stem.startswith('toy')), path.name


@pytest.mark.smoke
def test_the_python_lines_of_the_readme_run(tmp_path, monkeypatch, capsys):
    import numpy as np

    import mmdvis
    from mmdvis.checkpoints import zoo
    from mmdvis.datasets.toy.scene import draw_scene, render
    from mmdvis.io import VideoWriter

    (code,) = re.findall(r'```python\n(.*?)```', (ROOT / 'README.md').read_text(), re.S)
    assert len([line for line in code.splitlines() if line.strip()]) <= 6
    rng = np.random.default_rng(3)
    scene = draw_scene(rng)
    with VideoWriter(tmp_path / 'clip.mp4', 6) as writer:
        for t in range(3):
            writer.write(render(scene, t, rng)[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('mmdvis.apis.inferencer.default_model', lambda: zoo.EMBEDDED_MODEL)
    exec(code, dict(mmdvis=mmdvis))
    lines = capsys.readouterr().out.splitlines()
    assert lines and all(line.endswith('(96, 160)') for line in lines) and lines[-1].startswith('2 ')


def test_the_readme_counts_the_configs_of_the_papers():
    folders = ('coco', 'dvis', 'dvis_plus', 'eomt', 'lsvos2023', 'minvis', 'pvuw2024', 'videomt', 'vpsnet')
    number = sum(len(list((ROOT / 'configs' / name).rglob('*.py'))) for name in folders)
    assert f'{number} configs of the papers' in (ROOT / 'README.md').read_text()
