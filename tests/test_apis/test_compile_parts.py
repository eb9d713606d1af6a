"""Compiled parts give the same results; without a compiler, one warning is issued."""

import subprocess
import sys

import pytest
import torch

FRAMES = torch.randn(1, 2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
SCRIPT = """
import warnings
import torch
from helpers import tiny
from mmdvis.apis.optimize_for_inference import compile_parts
model = tiny.model('dvis').eval()
frames = torch.randn(1, 2, 3, 64, 96)
with torch.no_grad(), warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    expected = model(frames).class_logits
    compiled = compile_parts(model)(frames).class_logits
    model(frames)
print(torch.equal(compiled, expected), [str(x.message) for x in caught if 'torch.compile' in str(x.message)])
"""


@pytest.mark.slow
def test_without_a_compiler_one_sentence_says_so(tmp_path):
    environment = dict(
        PATH='/usr/bin:/bin',
        CC='/bin/false',
        CXX='/bin/false',
        PYTHONPATH='tests',
        HOME=str(tmp_path),
        TORCHINDUCTOR_CACHE_DIR=str(tmp_path / 'cache'),
        OMP_NUM_THREADS='1',
    )
    done = subprocess.run([sys.executable, '-c', SCRIPT], env=environment, capture_output=True, text=True)
    last = done.stdout.splitlines()[-1]
    assert last.startswith('True') and last.count('torch.compile failed') >= 1, done.stderr[-2000:]
    assert 'runs uncompiled; install a C++ compiler to enable it' in last
