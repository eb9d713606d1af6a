"""Compiled parts give the same results; without a compiler, one warning is issued."""

import subprocess
import sys

import pytest
import torch
from helpers import tiny

from mmdvis.inference.optimize_for_inference import inductor_or_eager, optimize_for_inference
from mmdvis.structures.linear import ONEDNN_DTYPES

FRAMES = torch.randn(1, 2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
SCRIPT = """
import warnings
import torch
from helpers import tiny
from mmdvis.inference.optimize_for_inference import compile_parts
model = tiny.model('dvis').eval()
frames = torch.randn(1, 2, 3, 64, 96)
with torch.no_grad(), warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    expected = model(frames).class_logits
    compiled = compile_parts(model)(frames).class_logits
    model(frames)
print(torch.equal(compiled, expected), [str(x.message) for x in caught if 'torch.compile' in str(x.message)])
"""


@pytest.mark.skipif(not ONEDNN_DTYPES, reason='the warning needs a build of PyTorch with oneDNN')
@pytest.mark.slow
def test_compiled_results_agree_up_to_rounding():
    with torch.no_grad():
        plain = optimize_for_inference(tiny.model('dvis').eval())(FRAMES)
        with pytest.warns(UserWarning, match='compilation makes most models slower on a CPU'):
            compiled = optimize_for_inference(tiny.model('dvis').eval(), compiled=True)(FRAMES)
    for name in ('class_logits', 'mask_embeds', 'mask_features'):
        torch.testing.assert_close(getattr(compiled, name), getattr(plain, name), atol=1e-4, rtol=1e-3)


def test_a_graph_that_does_not_compile_runs_as_it_is(monkeypatch):
    def fail(graph, inputs):
        raise OSError('no compiler')

    monkeypatch.setattr(torch._dynamo, 'lookup_backend', lambda name: fail)
    graph = torch.fx.symbolic_trace(lambda x: x + 1)
    with pytest.warns(UserWarning, match=r'torch.compile failed \(OSError\), .* install a C\+\+ compiler to enable it'):
        run = inductor_or_eager(graph, [])
    assert run(5) == 6


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
