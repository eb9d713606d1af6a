"""Fixtures of the evaluation tests."""

import json

import pytest
from helpers.commands import load


@pytest.fixture
def score(tmp_path, monkeypatch):
    """Function that runs tools/score.py and returns its exit code and the written scores, None if there are none."""
    tool = load('tools/score.py')

    def run(task, *words):
        has_workers = '--workers' in words or '--default-workers' in words
        out = tmp_path / 'out' / 'scores.json'
        words = [str(word) for word in words if word != '--default-workers']
        workers = [] if has_workers else ['--workers', '1']
        monkeypatch.setattr('sys.argv', ['score.py', task, *words, '--json', str(out), *workers])
        code = tool.main()
        return code, json.loads(out.read_text()) if out.exists() else None

    return run
