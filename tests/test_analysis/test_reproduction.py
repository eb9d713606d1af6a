"""Every table of figures in README and docs belongs to a row that makes it, and rows judge new runs by their spread."""

import json
import re

import numpy as np
import pytest
import yaml
from helpers.commands import ROOT, load
from scipy import stats

from mmdvis.analysis.reproduction import NO_FIGURES, Figures, Value, compare, read_figures, tables_of
from mmdvis.errors import OptionError

ROWS = read_figures(ROOT / 'benchmarks' / 'figures.yml')
DOCUMENTS = [ROOT / 'README.md', *sorted((ROOT / 'docs' / 'en').glob('*.md'))]


@pytest.mark.parametrize('path', DOCUMENTS, ids=lambda path: path.name)
def test_every_table_belongs_to_a_row(path):
    for table in tables_of(path.read_text()):
        assert table.mark is not None, f'{path}:{table.line}: mark the table with <!-- figures: ROW -->'
        assert table.mark in {*ROWS, NO_FIGURES}, f'{path}:{table.line}: there is no row {table.mark}'


def test_no_row_is_without_a_table():
    marks = {table.mark for path in DOCUMENTS for table in tables_of(path.read_text())}
    assert set(ROWS) <= marks


@pytest.mark.parametrize('name', ROWS)
def test_rows_state_commands_that_exist(name):
    row = ROWS[name]
    for step in row.steps:
        words = step.split()
        assert words[0] == 'python' and (ROOT / words[1]).is_file()
        for word in words:
            if word.startswith(('configs/', 'mmdvis/', 'tests/')):
                assert list(ROOT.glob(word)), word
    assert row.seconds > 0 and row.hardware and row.commit and row.title


HIDDEN = {'cost', 'long videos'}  # rows whose figures the docs show in another unit


@pytest.mark.parametrize('name', [name for name, row in ROWS.items() if row.values and name not in HIDDEN])
def test_the_tables_show_what_the_rows_expect(name):
    """Every figure of a row is in a table of the row or in the text, with the digits that it has in the row."""
    text = ' '.join(path.read_text() for path in DOCUMENTS)
    for figure, value in ROWS[name].values.items():
        shown = [
            rf'(?<![\d.]){run:{form}}(?![\d.]*\d)' for run in value.runs for form in ('.1f', '.2f', '.3f', '.0f', 'g')
        ]
        assert any(re.search(number, text) for number in shown), f'{name}, {figure}: {value.runs}'


def test_the_interval_of_another_run():
    """For runs x, another one lies in mean +- t(0.975, n - 1) s sqrt(1 + 1 / n): checked by simulation, too."""
    value = Value(('a',), (1.0, 2.0, 3.0))
    assert value.expected == 2.0 and value.tolerance == pytest.approx(stats.t.ppf(0.975, 2) * 1.0 * (4 / 3) ** 0.5)
    rng = np.random.default_rng(0)
    inside = [Value(('a',), tuple(runs[:4].tolist())).agrees(float(runs[4])) for runs in rng.normal(70, 2, (2000, 5))]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.02)
    assert Value(('a',), (5.0,), within=0.5).agrees(5.5) and not Value(('a',), (5.0,), within=0.5).agrees(5.6)


def test_values_are_read_from_results(tmp_path):
    content = dict(a=dict(b=[dict(x=3.0), dict(x=0.5)]))
    assert Value(('a', 'b', 0, 'x'), (1.0,)).read(content) == 3.0
    assert Value(('a', 'b', 0, 'x'), (1.0,), per=('a', 'b', 1, 'x')).read(content) == 6.0
    assert Value(('a', 'b', 1, 'x'), (1.0,), percent=True).read(content) == 50.0
    with pytest.raises(OptionError, match='has no entry a / c; c is missing'):
        Value(('a', 'c'), (1.0,)).read(content)
    row = Figures('t', (), 'r.json', dict(x=Value(('a', 'b', 0, 'x'), (2.9,), within=0.2)), 'h', 1, 'c')
    (tmp_path / 'r.json').write_text(json.dumps(content))
    assert compare(row, tmp_path / 'r.json') == [('x', 3.0, 2.9, 0.2, True)]
    with pytest.raises(OptionError, match='did not write'):
        compare(row, tmp_path / 'absent.json')


@pytest.mark.parametrize(
    'content, message',
    [
        (dict(x=dict(y=1.0), z=2.0), 'the entry x of the result must be a number'),
        (dict(x=None, z=2.0), 'the entry x of the result must be a number, got None'),
        (dict(x=1.0, z=0.0), 'the entry z of the result must not be zero'),
    ],
)
def test_results_that_are_no_figures(content, message):
    with pytest.raises(OptionError, match=message):
        Value(('x',), (1.0,), per=('z',), within=1.0).read(content)


def test_old_results_are_not_judged(tmp_path, monkeypatch):
    tool = load('tools/analysis_tools/reproduce.py')
    monkeypatch.setattr(tool, 'ROWS', rows_file(tmp_path))
    (tmp_path / 'out' / 'first').mkdir(parents=True)
    (tmp_path / 'out' / 'first' / 'r.json').write_text('{"x": 1.0}')
    monkeypatch.setattr('sys.argv', ['reproduce.py', 'first', '--out', str(tmp_path / 'out')])
    with pytest.raises(SystemExit, match='first is not empty; name another --out'):
        tool.main()


def test_a_row_without_values_is_not_inside(tmp_path, monkeypatch, capsys):
    tool = load('tools/analysis_tools/reproduce.py')
    monkeypatch.setattr(tool, 'ROWS', rows_file(tmp_path, values={}))
    monkeypatch.setattr('sys.argv', ['reproduce.py', 'first'])
    assert tool.main() == 0
    out = capsys.readouterr().out
    assert 'first: the commands succeeded' in out and 'inside' not in out


def test_tables_and_their_marks():
    text = '<!-- figures: a -->\n| x |\n| --- |\n| 1.5 |\n\n| no |\n| numbers 3 |\n\ntext\n| 2.5 |\n'
    assert [(t.line, t.mark, t.numbers) for t in tables_of(text)] == [(2, 'a', ('1.5',)), (10, None, ('2.5',))]


def rows_file(folder, **changes):
    value = dict(at=['x'], runs=[1.0], within=0.1)
    code = 'import json, sys; json.dump(dict(x=1.05), open(sys.argv[1], "w"))'
    row = dict(title='t', steps=[f"python -c '{code}' {{out}}/r.json"], result='r.json', values=dict(x=value))
    row.update(dict(hardware='h', seconds=1, commit='c'), **changes)
    (folder / 'rows.yml').write_text(yaml.safe_dump(dict(first=row)))
    return folder / 'rows.yml'


@pytest.mark.parametrize('shift, code', [(0.0, 0), (0.2, 1)])
def test_the_tool_says_inside_or_outside(tmp_path, monkeypatch, capsys, shift, code):
    tool = load('tools/analysis_tools/reproduce.py')
    value = dict(at=['x'], runs=[1.0 + shift], within=0.1)
    monkeypatch.setattr(tool, 'ROWS', rows_file(tmp_path, values=dict(x=value)))
    monkeypatch.setattr('sys.argv', ['reproduce.py', 'first'])
    assert tool.main() == code
    assert f'first: {"outside" if code else "inside"} the noise; earlier' in capsys.readouterr().out
    monkeypatch.setattr('sys.argv', ['reproduce.py'])
    assert tool.main() == 0 and '| first |' in capsys.readouterr().out
    monkeypatch.setattr('sys.argv', ['reproduce.py', 'second'])
    with pytest.raises(SystemExit, match='there is no row second; rows: first'):
        tool.main()


def test_a_command_that_fails_and_rows_that_are_wrong(tmp_path, monkeypatch):
    tool = load('tools/analysis_tools/reproduce.py')
    monkeypatch.setattr(tool, 'ROWS', rows_file(tmp_path, steps=["python -c 'raise SystemExit(3)'"]))
    monkeypatch.setattr('sys.argv', ['reproduce.py', 'first'])
    with pytest.raises(SystemExit, match='row first: the command failed'):
        tool.main()
    for changes, message in [
        (dict(values=dict(x=dict(at=['x'], runs=[1.0]))), 'row first, x: at least two runs are needed'),
        (dict(values=dict(x=dict(at=['x'], runs=[]))), 'at least two runs are needed'),
        (dict(values=dict(x=dict(runs=[1.0]))), 'row first: .*at'),
        (dict(unknown=1), 'row first: .*unknown'),
    ]:
        with pytest.raises(OptionError, match=message):
            read_figures(rows_file(tmp_path, **changes))
    with pytest.raises(OptionError, match='cannot be read as rows of figures'):
        read_figures(tmp_path / 'absent.yml')
