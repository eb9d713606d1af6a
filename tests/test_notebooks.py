"""The notebooks run from top to bottom, with the model in the package."""

import json
import sys

import pytest
from helpers.commands import ENVIRONMENT, ROOT

NOTEBOOKS = sorted((ROOT / 'demo' / 'notebooks').glob('*.ipynb'))


@pytest.mark.slow
@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(path, tmp_path, monkeypatch):
    nbformat = pytest.importorskip('nbformat')
    client = pytest.importorskip('nbclient')
    pytest.importorskip('ipykernel')
    for name in ('PYTHONPATH', 'OMP_NUM_THREADS', 'PATH'):
        monkeypatch.setenv(name, ENVIRONMENT[name])
    notebook = nbformat.read(path, as_version=4)
    client.NotebookClient(notebook, timeout=600, resources=dict(metadata=dict(path=str(tmp_path)))).execute()
    text = json.dumps([cell.outputs for cell in notebook.cells if cell.cell_type == 'code'])
    expected = dict(quick_start='iframe srcdoc', own_data='image/png', metrics='identity switches 2')
    assert expected[path.stem] in text


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_saved_without_output_and_can_install(path):
    content = json.loads(path.read_text())
    cells = [cell for cell in content['cells'] if cell['cell_type'] == 'code']
    assert not any(cell['outputs'] or cell['execution_count'] for cell in cells)
    assert cells[0]['metadata'].get('tags') == ['install'] and 'pip' in ''.join(cells[0]['source'])
    for cell in cells:
        compile(''.join(cell['source']), path.name, 'exec')
    assert sys.version_info >= (3, 10) and content['nbformat'] == 4
