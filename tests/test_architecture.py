"""The house rules of the package, held by a test: who may import whom, sizes, and modules without memory.

Never loosened to get past it.
"""

import ast
from pathlib import Path

import pytest

PACKAGE = 'mmdvis'
ROOT = Path(PACKAGE)
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
        )
    ),
}
STAGE = {'structures', 'models/functional', 'models/layers'}
MAY_IMPORT = {  # folder -> the folders of the package that it may import, besides its own
    'structures': set(),
    'io': {'structures'},
    'checkpoints': {'structures', 'io'},
    'models/functional': {'structures'},
    'models/layers': {'structures', 'models/functional'},
    'models/losses': {'structures', 'models/functional'},
    'models/backbones': STAGE,
    'models/segmenters': STAGE,
    'models/trackers': STAGE,
    'models/refiners': STAGE,
    'models/postprocessors': {'structures', 'models/functional', 'io'},
    'models/detectors': {'structures', 'models/functional', 'io'},
    'datasets': {'structures', 'io'},
    'evaluation/functional': set(),
    'evaluation/files': {'evaluation/functional'},
    'evaluation/metrics': {'structures', 'io', 'evaluation/functional', 'evaluation/files'},
    'engine': {'structures', 'io', 'checkpoints'},
    'visualization': {'structures', 'io'},
    'apis': {'structures', 'io', 'checkpoints', 'models', 'models/detectors', 'datasets', 'visualization'},
    'testing': {'structures', 'io', 'checkpoints', *MODELS, 'apis'},
    'analysis': {
        'structures',
        'io',
        'checkpoints',
        *MODELS,
        'datasets',
        'evaluation/functional',
        'evaluation/files',
        'visualization',
        'apis',
    },
    'cli': {
        'structures',
        'io',
        'checkpoints',
        *MODELS,
        'datasets',
        'evaluation/functional',
        'evaluation/files',
        'engine',
        'visualization',
        'apis',
        'analysis',
        'testing',
    },
}
GROUND = {'registry', 'version', 'mmcv_ops_fallback', 'errors', 'checks'}  # single files that everybody may import
MAX_FILE, MAX_BODY, MAX_ARGS = 400, 60, 12
MUTATORS = {'append', 'extend', 'update', 'pop', 'clear', 'copy_', 'fill_', 'zero_', 'add_'}
FILES = sorted(ROOT.rglob('*.py'))
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def folder_of(parts):
    """The longest known folder of a module path; bare ``models`` and ``evaluation`` count as folders of their own."""
    names = ['/'.join(parts[:n]) for n in (2, 1)]
    return next((n for n in names if n in MAY_IMPORT or n in {'models', 'evaluation'}), None)


def imported(node, path):
    """Yields the parts, below the package, of every module or name that an import statement names."""
    if isinstance(node, ast.Import):
        modules = [alias.name.split('.') for alias in node.names]
    elif node.level:
        above = (PACKAGE, *path.relative_to(ROOT).parent.parts)
        base = [*above[: len(above) - node.level + 1], *filter(None, (node.module or '').split('.'))]
        modules = [[*base, alias.name] for alias in node.names]
    else:
        modules = [[*node.module.split('.'), alias.name] for alias in node.names]
    yield from (tuple(m[1:]) for m in modules if m[0] == PACKAGE and len(m) > 1)


@pytest.mark.parametrize('path', [p for p in FILES if p.name != '__init__.py'], ids=str)
def test_imports_point_down(path):
    here = folder_of(path.relative_to(ROOT).parts)
    assert here or len(path.relative_to(ROOT).parts) == 1, f'{path}: a folder that the plan does not know'
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for parts in imported(node, path):
                there = folder_of(parts)
                assert not here or parts[0] in GROUND or there in {here, *MAY_IMPORT[here]}, (
                    f'{path}:{node.lineno}: {here} may not import {".".join(parts)}'
                )


@pytest.mark.parametrize('path', FILES, ids=str)
def test_sizes(path):
    text = path.read_text()
    assert text.count('\n') <= MAX_FILE, f'{path} is longer than {MAX_FILE} lines'
    for f in (f for f in ast.walk(ast.parse(text)) if isinstance(f, FUNCTIONS)):
        start = f.body[1].lineno if ast.get_docstring(f) and len(f.body) > 1 else f.body[0].lineno
        assert f.end_lineno - start < MAX_BODY, f'{path}:{f.lineno} {f.name}: body over {MAX_BODY} lines'
        names = [a.arg for a in f.args.args + f.args.kwonlyargs if a.arg not in {'self', 'cls'}]
        assert len(names) <= MAX_ARGS, f'{path}:{f.lineno} {f.name}: {len(names)} arguments, at most {MAX_ARGS}'


def writes_self(node):
    """The attribute of ``self`` that a node changes, or None."""

    def owner(x):  # self.name, however deep the subscripts
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


@pytest.mark.parametrize('path', [p for p in FILES if 'models' in p.parts], ids=str)
def test_models_hold_no_memory(path):
    """Outside ``__init__`` no method changes an attribute of ``self``: what a video leaves behind is a state."""
    for cls in (c for c in ast.walk(ast.parse(path.read_text())) if isinstance(c, ast.ClassDef)):
        for method in (m for m in cls.body if isinstance(m, FUNCTIONS) and m.name != '__init__'):
            for node in ast.walk(method):
                name = writes_self(node)
                assert name is None, f'{path}:{node.lineno} {cls.name}.{method.name} changes self.{name}'
