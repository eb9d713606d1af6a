"""Code blocks of the documentation: Python runs, commands are accepted by their parsers, tutorials run as they are."""

import ast
import importlib
import inspect
import io
import json
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.commands import ROOT
from helpers.labelled_videos import write_labelme
from mmengine.config import Config
from PIL import Image
from test_models import test_tracker_contract

from mmdvis.cli.main import main
from mmdvis.registry import DATASETS, METRICS
from mmdvis.results import ClassInfo, VideoSemantic

PAGES = sorted(
    [
        *ROOT.glob('README*.md'),
        ROOT / 'data' / 'README.md',
        ROOT / 'demo' / 'README.md',
        *(ROOT / 'docs').rglob('*.md'),
        *(ROOT / 'configs').rglob('*.md'),
    ]
)
STATED = {  # words of the pages -> what stands for them here
    'CONFIG': str(ROOT / 'configs' / 'toy' / 'dvis-offline_r18_1xb3-t20_toy.py'),
    'CHECKPOINT': str(next((ROOT / 'mmdvis' / 'checkpoints' / 'embedded').glob('dvis_toy-*.pth'))),
    'minvis_swin-t_coco-panoptic': 'dvis-offline_toy',
    "['person', 'dog']": "['disc', 'square']",
    "device='cuda'": "device='cpu'",
}
FOREIGN = ('pip', 'mim', 'ffmpeg', 'docker', 'python -m venv', '. ', 'nvcc', 'git')  # programs of others


def blocks(page, language):
    return re.findall(rf'^```{language}\n(.*?)^```', page.read_text(), re.S | re.M)


def id_of(page):
    return str(page.relative_to(ROOT))


def pages_with(language):
    return [page for page in PAGES if blocks(page, language)]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The working folder, with a clip; the default model is that of the package."""
    from mmdvis.checkpoints import zoo
    from mmdvis.datasets.toy.scene import draw_scene, render
    from mmdvis.io import VideoWriter

    rng = np.random.default_rng(3)
    scene = draw_scene(rng)
    with VideoWriter(tmp_path / 'clip.mp4', 6) as writer:
        for t in range(3):
            writer.write(render(scene, t, rng)[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('mmdvis.apis.inferencer.default_model', lambda: zoo.EMBEDDED_MODEL)
    return tmp_path


def module_of(monkeypatch):
    """Name of an empty module, which dataclasses look for; classes registered by the code are forgotten afterwards."""
    from mmdvis import registry

    monkeypatch.setitem(sys.modules, 'page', type(sys)('page'))
    for kind in (registry.MODELS, registry.DATASETS):
        kind.import_from_location()
        monkeypatch.setattr(kind, '_module_dict', dict(kind._module_dict))
    return 'page'


@pytest.mark.parametrize('page', pages_with('python'), ids=id_of)
def test_python_blocks_run(page, place, toy_root, monkeypatch):
    monkeypatch.setenv('TOY_DATA', str(toy_root))
    monkeypatch.setattr(sys, 'argv', ['python'])
    frames = torch.zeros(2, 3, 96, 160, dtype=torch.uint8)
    image = np.zeros((96, 160, 3), np.uint8)
    given = dict(frames=frames, clips=[frames], image=image, __name__=module_of(monkeypatch))
    for code in blocks(page, 'python'):
        for word, value in STATED.items():
            code = code.replace(word, value)
        with redirect_stdout(io.StringIO()):
            exec(compile(code, id_of(page), 'exec'), given)


@pytest.mark.parametrize('page', pages_with('py'), ids=id_of)
def test_fragments_of_configs_are_python(page):
    for code in blocks(page, 'py'):
        assert all(isinstance(node, ast.Assign) for node in ast.parse(code).body)


def commands_of(page):
    """Commands of the bash blocks: lines joined, comments and optional parts removed, pipes split."""
    for text in blocks(page, 'bash'):
        text = re.sub(r'\\\n', ' ', text)
        for line in text.splitlines():
            line = re.sub(r'(^|\s)#.*', '', line)
            line = re.sub(r'[\[\]]', ' ', line) if '[-' in line else line
            yield from (part.strip() for part in re.split(r'\||&&', line) if part.strip())


def parser_of(words):
    """What parses a command: a function, and its arguments."""
    while re.fullmatch(r'[A-Z_]+=\S*', words[0]):  # variables of the environment
        words = words[1:]
    if words[0] == 'torchrun':
        start = next(k for k, word in enumerate(words) if word == '-m' or word.endswith('.py'))
        words = words[start + 1 :] if words[start] == '-m' else ['python', *words[start:]]
    if words[0] in ('tools/dist_train.sh', 'tools/slurm_train.sh', 'tools/dist_test.sh'):
        assert (ROOT / words[0]).is_file()
        return None, words
    if words[:2] == ['python', '-m']:
        words = words[2:]
    if words[0] in ('mmdvis', 'mmdvis.doctor'):
        from mmdvis.cli.main import COMMANDS

        if words[0] == 'mmdvis.doctor':
            return None, words
        commands, words = COMMANDS, words[1:]
        while True:
            assert words[0] in commands or '--from' in words, words
            module = importlib.import_module(commands[words[0] if words[0] in commands else 'labels'][0])
            words = words[1:] if words[0] in commands else words
            commands = getattr(module, 'COMMANDS', None)
            if not commands:
                return getattr(module, 'parse_args', None), words
    assert words[0] == 'python' and (ROOT / words[1]).is_file(), words
    spec = importlib.util.spec_from_file_location('tool', ROOT / words[1])
    module = importlib.util.module_from_spec(spec)
    sys.modules['tool'] = module  # for the dataclasses of the tool
    spec.loader.exec_module(module)
    return module.parse_args, words[2:]


@pytest.mark.parametrize('page', pages_with('bash'), ids=id_of)
def test_commands_are_accepted_by_their_parsers(page, monkeypatch):
    targets = set(re.findall(r'^([a-z-]+):', (ROOT / 'Makefile').read_text(), re.M))
    found = 0
    for command in commands_of(page):
        words = shlex.split(command)
        if command.startswith(FOREIGN):
            continue
        found += 1
        if words[0] == 'make':
            assert all(word in targets or '=' in word for word in words[1:]), command
            continue
        parse, arguments = parser_of(words)
        if parse is not None:
            monkeypatch.setattr(sys, 'argv', ['mmdvis', *arguments])
            try:
                parse(arguments) if parse.__code__.co_argcount else parse()
            except SystemExit as error:
                raise AssertionError(f'{page.name}: {command}: {error}') from None
    assert found or 'pip' in page.read_text()


def write_labels(folder):
    """A video with bottles, caps and a table, as labelme labels it: what the tutorials begin with."""
    write_labelme(folder / 'my_videos', 'bottles')
    for path in (folder / 'my_videos' / 'bottles').glob('*.json'):
        path.write_text(path.read_text().replace('"cat"', '"bottle"').replace('"grass"', '"table"'))


@pytest.mark.slow
@pytest.mark.parametrize('page', ['docs/en/own_data.md', 'docs/zh_cn/quick_start.md'])
def test_tutorials_run_as_they_are(page, place, monkeypatch):
    write_labels(place)
    monkeypatch.setenv('PATH', f'{Path(sys.executable).parent}:/usr/bin:/bin')
    for text in blocks(ROOT / page, 'bash'):
        if 'mmdvis data' in text or 'my.py' in text or 'three.py' in text or 'iter_20' in text:
            subprocess.run(['bash', '-e', '-c', text], check=True, cwd=place)
    content = json.loads((place / 'results' / 'bottles' / 'result.json').read_text())
    assert [category['name'] for category in content['categories']] == ['bottle', 'table']


def namespace_of(page, monkeypatch):
    given = dict(__name__=module_of(monkeypatch))
    for code in blocks(ROOT / 'docs' / 'en' / page, 'python'):
        exec(compile(code, page, 'exec'), given)
    return given


CONTRACT = [name for name in dir(test_tracker_contract) if name.startswith('test_') and 'registered' not in name]


@pytest.mark.parametrize('name', CONTRACT)
def test_the_tracker_of_the_page_fulfils_the_contract(name, monkeypatch, request):
    """The tests of all registered trackers, with the class of the page."""
    made = namespace_of('add_tracker.md', monkeypatch)['MaskIoUTracker']
    monkeypatch.setattr(test_tracker_contract, 'build', lambda _: made().eval())
    test = getattr(test_tracker_contract, name)
    parameters = inspect.signature(test).parameters
    marks = {m.args[0]: m.args[1] for m in getattr(test, 'pytestmark', ()) if m.name == 'parametrize'}
    values = {key: marks[key][0] for key in parameters if key in marks and key != 'name'}
    fixtures = {key: request.getfixturevalue(key) for key in parameters if key not in marks and key != 'name'}
    test(**values, **fixtures, **({'name': 'cosine'} if 'name' in parameters else {}))


@pytest.fixture
def labelled_folders(tmp_path):
    """Write a video in the layout of ``add_dataset.md``; its two frames have the first and the second class."""
    root = tmp_path / 'data' / 'mine'
    for t in range(2):
        for name, suffix in (('images', 'jpg'), ('labels', 'png')):
            (root / name / 'v').mkdir(parents=True, exist_ok=True)
            pixels = np.full((32, 48), t + 1, np.uint8)
            Image.fromarray(pixels if suffix == 'png' else np.stack([pixels] * 3, 2)).save(
                root / name / 'v' / f'{t}.{suffix}'
            )
    return root


def test_the_dataset_of_the_page_reads_its_folders(labelled_folders, monkeypatch):
    made = namespace_of('add_dataset.md', monkeypatch)['FolderDataset']
    prefix = dict(img='images', seg='labels')
    dataset = made(data_root=str(labelled_folders), data_prefix=prefix, clip=dict(num_frames=2))
    sample = dataset[0]['data_samples']
    assert sample.gt_labels.tolist() == [0, 1] and dataset.metainfo['classes'] == ('cat', 'grass')
    assert sorted(np.unique(sample.gt_index_maps).tolist()) == [1, 2]


def test_the_config_of_the_page_is_complete(labelled_folders, tmp_path, monkeypatch, request):
    """Its datasets have no problems, and predictions equal to the labels have a mIoU of 1."""
    page, folder = ROOT / 'docs' / 'en' / 'add_dataset.md', tmp_path
    module_of(monkeypatch)
    request.addfinalizer(lambda: sys.modules.pop('folder_dataset', None))
    (folder / 'folder_dataset.py').write_text(blocks(page, 'python')[0])
    (folder / 'my_config.py').write_text(blocks(page, 'py')[0])
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    with pytest.raises(SystemExit) as ended:
        main(['data', 'check', 'my_config.py'])
    assert ended.value.code == 0
    config = Config.fromfile('my_config.py')
    for part in ('test', 'val'):
        loader, (evaluator,) = config[f'{part}_dataloader'], config[f'{part}_evaluator']
        dataset, metric = DATASETS.build(loader.dataset), METRICS.build(evaluator)
        metric.dataset_meta = dataset.metainfo
        labels = torch.stack([torch.full((32, 48), t, dtype=torch.uint8) for t in range(2)])
        names = [frame['name'] for frame in dataset.get_data_info(0)['frames']]
        result = VideoSemantic(labels, ClassInfo.numbered(2))
        metric.process({}, [dict(video_id='v', frame_names=names, pred_semantic=result)])
        assert metric.evaluate(1)['mIoU'] == 1.0


def object_at(name):
    module, _, attribute = name.rpartition('.')
    return getattr(importlib.import_module(module), attribute)


def test_the_api_pages_have_every_public_name():
    text = ' '.join(path.read_text() for path in (ROOT / 'docs' / 'en' / 'api').glob('*.md'))
    documented = [object_at(name) for name in re.findall(r'::: (\S+)', text)]
    packages = [
        f'mmdvis.{path.parent.relative_to(ROOT / "mmdvis").as_posix().replace("/", ".")}'
        for path in (ROOT / 'mmdvis').rglob('__init__.py')
        if '__all__' in path.read_text() and path.parent != ROOT / 'mmdvis' and '.mim' not in path.parts
    ]
    internal = ('ops', 'layers', 'functional', 'testing', 'cli', 'viewer', 'converters')  # not for users
    public = [name for name in packages if not any(part in internal for part in name.split('.'))]
    assert len(public) > 20
    for package in public:
        module = importlib.import_module(package)
        for name in module.__all__:
            value = getattr(module, name)
            if callable(value):  # constants are explained where they are used
                assert any(value is other for other in documented), f'{package}.{name}'
    from mmdvis import errors, registry

    for kind in ('MODELS', 'DATASETS', 'TRANSFORMS', 'METRICS', 'HOOKS', 'RUNNERS', 'LOOPS', 'STRATEGIES'):
        found = getattr(registry, kind)
        found.import_from_location()
        own = [c for c in found.module_dict.values() if c.__module__.startswith('mmdvis.')]
        assert own and all(any(c is other for other in documented) for c in own), kind
    for value in vars(errors).values():
        assert not isinstance(value, type) or value.__module__ != 'mmdvis.errors' or value in documented


@pytest.mark.skipif(sys.version_info[:2] not in ((3, 11), (3, 12)), reason='other versions print options differently')
def test_the_page_of_the_command_line_is_what_help_prints(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['mmdvis'])
    monkeypatch.setenv('COLUMNS', '100')
    spec = importlib.util.spec_from_file_location('write_cli_page', ROOT / 'tools' / 'misc' / 'write_cli_page.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.page() == module.PAGE.read_text(), 'run python tools/misc/write_cli_page.py'


def test_the_site_is_built_without_warnings(tmp_path):
    pytest.importorskip('mkdocs')
    pytest.importorskip('mkdocstrings')
    words = [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--quiet', '--site-dir', str(tmp_path / 'site')]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    text = (tmp_path / 'site' / 'en' / 'api' / 'results' / 'index.html').read_text()
    assert 'SegmentedObject' in text and 'bounding box (x1, y1, x2, y2)' in text
    for page in (tmp_path / 'site' / 'en' / 'api').rglob('*.html'):
        assert 'doc-module' not in page.read_text(), f'{page} shows a module instead of its function'
