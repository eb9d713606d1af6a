"""Architecture rules of the package: allowed imports, maximum sizes, and modules without hidden state.

Fix the code instead of relaxing a rule.
"""

import ast

import pytest
from helpers.commands import ROOT as REPOSITORY

PACKAGE = 'mmdvis'
ROOT = REPOSITORY / PACKAGE
MODELS = {
    'models',
    *(
        f'models/{name}'
        for name in (
            'functional',
            'layers',
            'losses',
            'backbones',
            'segmenters',
            'trackers',
            'refiners',
            'postprocessors',
            'detectors',
            'necks',
            'heads',
            'flow',
            'associators',
        )
    ),
}
STAGE = {'structures', 'models/functional', 'models/layers'}
MAY_IMPORT = {  # folder -> the other folders of the package that it may import
    'structures': set(),
    'results': {'structures'},
    'io': {'structures', 'results'},
    'checkpoints': {'structures', 'io'},
    'models/functional': {'structures'},
    'models/layers': {'structures', 'models/functional'},
    'ops': {'structures', 'models/functional'},
    'models/losses': {'structures', 'models/functional'},
    'models/backbones': STAGE,
    'models/segmenters': STAGE,
    'models/trackers': STAGE,
    'models/refiners': STAGE,
    'models/necks': STAGE,
    'models/heads': STAGE,
    'models/flow': STAGE,
    'models/associators': STAGE,
    'models/postprocessors': {'structures', 'results', 'models/functional', 'io'},
    'models/detectors': {'structures', 'results', 'models/functional', 'io'},
    'datasets': {'structures', 'results', 'io'},
    'evaluation/functional': set(),
    'evaluation/files': {'evaluation/functional'},
    'evaluation/metrics': {'structures', 'results', 'io', 'evaluation/functional', 'evaluation/files'},
    'engine': {'structures', 'results', 'io', 'checkpoints'},
    'visualization': {'structures', 'results', 'io'},
    'result_files': {'structures', 'results', 'io', 'visualization'},
    'inference': {'structures', 'results', 'io', 'checkpoints', 'models', 'models/detectors', 'datasets'},
    'apis': {
        'structures',
        'results',
        'io',
        'checkpoints',
        'models',
        'models/detectors',
        'visualization',
        'result_files',
        'inference',
    },
    'testing': {'structures', 'results', 'io', 'checkpoints', *MODELS, 'visualization', 'result_files', 'inference'},
    'analysis': {
        'structures',
        'results',
        'io',
        'checkpoints',
        *MODELS,
        'datasets',
        'evaluation/functional',
        'evaluation/files',
        'visualization',
        'result_files',
        'inference',
        'apis',
    },
    'cli': {
        'structures',
        'results',
        'io',
        'checkpoints',
        *MODELS,
        'datasets',
        'evaluation/functional',
        'evaluation/files',
        'engine',
        'visualization',
        'result_files',
        'inference',
        'apis',
        'analysis',
        'testing',
    },
}
GROUND = {'registry', 'version', 'mmcv_ops_fallback', 'errors', 'checks'}  # single files that every module may import
MAX_FILE, MAX_BODY, MAX_ARGS = 400, 60, 12
MUTATORS = {'append', 'extend', 'update', 'pop', 'clear', 'copy_', 'fill_', 'zero_', 'add_'}
FILES = sorted(ROOT.rglob('*.py'))
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def name_of(path):
    """Return the path below the repository, as the id of a test."""
    return str(path.relative_to(REPOSITORY))


def folder_of(parts):
    """Return the longest listed folder of a module path; ``models`` and ``evaluation`` alone are folders, too."""
    names = ['/'.join(parts[:n]) for n in (2, 1)]
    return next((n for n in names if n in MAY_IMPORT or n in {'models', 'evaluation'}), None)


def imported(node, path):
    """Yield the path parts, below the package, of every module or name in an import statement."""
    if isinstance(node, ast.Import):
        modules = [alias.name.split('.') for alias in node.names]
    elif node.level:
        above = (PACKAGE, *path.relative_to(ROOT).parent.parts)
        base = [*above[: len(above) - node.level + 1], *filter(None, (node.module or '').split('.'))]
        modules = [[*base, alias.name] for alias in node.names]
    else:
        modules = [[*node.module.split('.'), alias.name] for alias in node.names]
    yield from (tuple(m[1:]) for m in modules if m[0] == PACKAGE and len(m) > 1)


@pytest.mark.parametrize('path', [p for p in FILES if p.name != '__init__.py'], ids=name_of)
def test_imports_point_down(path):
    importer = folder_of(path.relative_to(ROOT).parts)
    assert importer or len(path.relative_to(ROOT).parts) == 1, f'{path}: this folder is not listed in MAY_IMPORT'
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for parts in imported(node, path):
                imported_folder = folder_of(parts)
                assert not importer or parts[0] in GROUND or imported_folder in {importer, *MAY_IMPORT[importer]}, (
                    f'{path}:{node.lineno}: {importer} may not import {".".join(parts)}'
                )


@pytest.mark.parametrize('path', FILES, ids=name_of)
def test_sizes(path):
    text = path.read_text()
    assert text.count('\n') <= MAX_FILE, f'{path} is longer than {MAX_FILE} lines'
    for f in (f for f in ast.walk(ast.parse(text)) if isinstance(f, FUNCTIONS)):
        start = f.body[1].lineno if ast.get_docstring(f) and len(f.body) > 1 else f.body[0].lineno
        assert f.end_lineno - start < MAX_BODY, f'{path}:{f.lineno} {f.name}: body over {MAX_BODY} lines'
        names = [a.arg for a in f.args.args + f.args.kwonlyargs if a.arg not in {'self', 'cls'}]
        assert len(names) <= MAX_ARGS, f'{path}:{f.lineno} {f.name}: {len(names)} arguments, at most {MAX_ARGS}'


def writes_self(node):
    """Return the name of the attribute of ``self`` that a node changes, or None."""

    def owner(x):  # self.name with any number of subscripts
        while isinstance(x, ast.Subscript):
            x = x.value
        return x.attr if isinstance(x, ast.Attribute) and getattr(x.value, 'id', '') == 'self' else None

    if isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, (ast.Store, ast.Del)):
        return owner(node)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
        return owner(node.func.value)
    if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'setattr':
        return 'setattr' if getattr(node.args[0], 'id', '') == 'self' else None
    return None


@pytest.mark.parametrize('path', [p for p in FILES if 'models' in p.parts], ids=name_of)
def test_models_hold_no_memory(path):
    """Only ``__init__`` changes attributes of ``self``; the state of a video is passed in and returned."""
    for cls in (c for c in ast.walk(ast.parse(path.read_text())) if isinstance(c, ast.ClassDef)):
        for method in (m for m in cls.body if isinstance(m, FUNCTIONS) and m.name != '__init__'):
            for node in ast.walk(method):
                name = writes_self(node)
                assert name is None, f'{path}:{node.lineno} {cls.name}.{method.name} changes self.{name}'


SCRIPTS = {'benchmarks', 'demo', 'tools'}  # folders of scripts, from which nothing is imported
MODEL_NAMES = {'model', 'detector', 'segmenter', 'tracker', 'refiner', 'postprocessor', 'stage', 'member', 'module'}


@pytest.mark.parametrize(
    'path', [*FILES, *sorted(p for d in SCRIPTS for p in (REPOSITORY / d).rglob('*.py'))], ids=name_of
)
def test_nothing_is_imported_from_scripts(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
        assert not [name for name in names if name.split('.')[0] in SCRIPTS], f'{path}:{node.lineno}'
        text = ast.unparse(node) if isinstance(node, ast.Call) else ''
        assert not text.startswith('sys.path.'), f'{path}:{node.lineno} changes sys.path'


def model_attribute(node):
    """``name.attribute`` if a node stores an attribute of something that is called like a model, else None."""
    if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'setattr':
        node = ast.Attribute(node.args[0], 'setattr', ast.Store())
    if not isinstance(node, ast.Attribute) or not isinstance(node.ctx, (ast.Store, ast.Del)):
        return None
    owner = node.value
    name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ''
    is_self = isinstance(owner, ast.Attribute) and getattr(owner.value, 'id', '') == 'self'
    return f'{name}.{node.attr}' if name in MODEL_NAMES and not is_self else None


@pytest.mark.parametrize(
    'path', [*FILES, *sorted(p for d in SCRIPTS for p in (REPOSITORY / d).rglob('*.py'))], ids=name_of
)
def test_no_attribute_of_a_model_is_written_from_outside(path):
    """Configs (``config.model``) are not models; ``in_proj_weight.data`` is a tensor of one."""
    for node in ast.walk(ast.parse(path.read_text())):
        name = model_attribute(node)
        is_config = name is not None and isinstance(node, ast.Attribute) and 'config' in ast.unparse(node)
        assert name is None or is_config, f'{path}:{node.lineno} writes {name}'


def test_models_use_only_containers_of_io():
    """Models hand data to containers that may be on disk; they read and write no files of the user."""
    allowed = {'DiskBackedMaps', 'STORES', 'feature_store', 'transform_frames'}
    for path in (p for p in FILES if 'models' in p.parts):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                of_io = [parts for parts in imported(node, path) if parts[0] == 'io']
                assert {parts[-1] for parts in of_io} <= allowed, f'{path}:{node.lineno}'


def test_there_is_something_to_check():
    assert len(FILES) > 150 and {'models', 'datasets', 'engine'} <= {path.relative_to(ROOT).parts[0] for path in FILES}
