"""Compiled parts give the same; where there is no compiler, one sentence says so."""

import subprocess
import sys
import warnings

import pytest
import torch
from helpers import tiny

from mmdvis.apis import optimize_for_inference
from mmdvis.apis.optimize_for_inference import CompiledCall

FRAMES = torch.randn(1, 2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
SCRIPT = """
import warnings
import torch
from helpers import tiny
from mmdvis.apis.optimize_for_inference import compile_parts
model = tiny.model('dvis').eval()
frames = torch.randn(1, 2, 3, 64, 96)
with torch.no_grad(), warnings.catch_warnings(record=True) as said:
    warnings.simplefilter('always')
    expected = model(frames).class_logits
    found = compile_parts(model)(frames).class_logits
    model(frames)
print(torch.equal(found, expected), [str(x.message) for x in said if 'torch.compile' in str(x.message)])
"""


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
    assert last.startswith('True') and last.count('torch.compile does not run here') == 1, done.stderr[-2000:]
    assert 'so the pixel decoder runs as it is; a C++ compiler mends it' in last


def test_errors_of_a_part_that_ran_once_are_errors(monkeypatch):
    answers = iter([1, RuntimeError('out of memory')])

    def quick(*args):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(torch, 'compile', lambda function, dynamic: quick)
    call = CompiledCall(lambda x: x, 'part')
    assert call(5) == 1
    with pytest.raises(RuntimeError, match='out of memory'):
        call(5)


def test_a_part_that_does_not_compile_is_tried_once(monkeypatch):
    tries = []

    def broken(*args):
        tries.append(args)
        raise OSError('no compiler')

    monkeypatch.setattr(torch, 'compile', lambda function, dynamic: broken)
    call = CompiledCall(lambda x: x + 1, 'part')
    with pytest.warns(UserWarning, match=r'torch.compile does not run here \(OSError\), so the part runs as it is'):
        assert call(5) == 6
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert call(6) == 7 and len(tries) == 1


@pytest.mark.slow
def test_compiled_results_agree_up_to_rounding():
    with torch.no_grad():
        plain = optimize_for_inference(tiny.model('dvis').eval())(FRAMES)
        quick = optimize_for_inference(tiny.model('dvis').eval(), compiled=True)(FRAMES)
    for name in ('class_logits', 'mask_embeds', 'mask_features'):
        torch.testing.assert_close(getattr(quick, name), getattr(plain, name), atol=1e-4, rtol=1e-3)
