"""Fixtures of the evaluation tests."""

import json

import pytest
from helpers.commands import load


@pytest.fixture
def score(tmp_path, monkeypatch):
    """Function that runs tools/score.py and returns its exit code and the written scores, None if there are none."""
    tool = load('tools/score.py')

    def run(task, *words, workers=1):
        out = tmp_path / 'out' / 'scores.json'
        options = [] if workers is None else ['--workers', str(workers)]
        monkeypatch.setattr('sys.argv', ['score.py', task, *map(str, words), '--json', str(out), *options])
        code = tool.main()
        return code, json.loads(out.read_text()) if out.exists() else None

    return run
