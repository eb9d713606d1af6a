"""Cached outputs of frozen stages equal those of the stages."""

from types import SimpleNamespace

import pytest
import torch
from helpers import tiny
from mmengine.logging import MessageHub
from test_dvis import samples

from mmdvis.engine.hooks import FrozenOutputCacheHook
from mmdvis.io import TensorCache
from mmdvis.models.detectors import frozen_outputs
from mmdvis.models.detectors.frozen_outputs import cached_queries


def counted(module):
    """List that grows with every forward pass of a module."""
    calls = []
    module.register_forward_pre_hook(lambda *_: calls.append(1))
    return calls


def losses(model, clips, cache=None):
    MessageHub.get_current_instance().update_info('frozen_cache', cache, resumed=False)
    torch.manual_seed(0)
    values = model(clips, samples([tiny.targets(clips.shape[1])] * len(clips)), mode='loss')
    MessageHub.get_current_instance().update_info('frozen_cache', None, resumed=False)
    sum(values.values()).backward()
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    return values, gradients


@pytest.mark.parametrize('tracker, refiner', [('dvis', False), ('dvis_first_frame', True), ('cosine', True)])
def test_training_with_a_cache_is_the_same_training(tmp_path, tracker, refiner):
    model, cache, clips = tiny.model(tracker, refiner).train(), TensorCache(str(tmp_path)), torch.randn(2, 3, 3, 64, 96)
    one_by_one, expected = model.segmenter(clips[:1, :1]), losses(model, clips)
    calls, tracked = counted(model.segmenter), counted(model.tracker)
    first, again = losses(model, clips, cache), losses(model, clips, cache)
    assert len(calls) == 6 and len(tracked) == 2 * refiner  # each frame and each clip once
    for name, value in expected[0].items():
        assert torch.equal(first[0][name], again[0][name])
        torch.testing.assert_close(first[0][name], value, rtol=1e-4, atol=1e-5)
    for a, b, c in zip(first[1], again[1], expected[1]):
        assert torch.equal(a, b)
        torch.testing.assert_close(a, c, rtol=1e-3, atol=1e-5)
    queries = cached_queries(cache, model.stage_texts['segmenter'], model.segmenter, clips[:1, :1])
    assert len(calls) == 6 and all(torch.equal(getattr(queries, n), getattr(one_by_one, n)) for n in queries.AXES)


def test_other_weights_configs_precisions_and_frames_are_other_entries(tmp_path):
    model = tiny.model('dvis').eval()
    cache, frames, calls = TensorCache(str(tmp_path)), torch.randn(1, 2, 3, 64, 96), counted(model.segmenter)

    def run(text='a', clips=frames):
        before = len(calls)
        with torch.no_grad():
            cached_queries(cache, text, model.segmenter, clips)
        return len(calls) - before

    assert (run(), run()) == (2, 0)
    assert run(clips=frames.flip(1)) == 0  # frames, not clips
    assert run(clips=frames.flip(-1)) == 2
    assert run('b') == 2
    with torch.autocast('cpu', torch.bfloat16):
        assert (run(), run()) == (2, 0)
    with torch.no_grad():
        next(model.segmenter.parameters()).mul_(2)
    assert run() == 2


def test_changed_code_is_another_entry(tmp_path, monkeypatch):
    model, cache, frames = tiny.model('dvis').eval(), TensorCache(str(tmp_path)), torch.randn(1, 1, 3, 64, 96)
    calls = counted(model.segmenter)
    hashes = [frozen_outputs.source_hash(type(model.segmenter)), frozen_outputs.source_hash(Defined)]
    assert len(hashes[0]) == 16 and hashes[0] != hashes[1]  # the file of the stage counts, too
    for version in ('a', 'a', 'b'):
        monkeypatch.setattr(frozen_outputs, 'source_hash', lambda kind, version=version: version)
        with torch.no_grad():
            cached_queries(cache, 'text', model.segmenter, frames)
    assert len(calls) == 2


class Defined(torch.nn.Module):
    """A stage that is defined outside of the package."""


def test_the_hook_sets_the_cache_for_the_training_only(tmp_path):
    hook, runner = FrozenOutputCacheHook(str(tmp_path)), SimpleNamespace(message_hub=MessageHub.get_current_instance())
    hook.before_train(runner)
    assert frozen_outputs.frozen_cache() is hook.cache and hook.cache.folder == tmp_path
    assert 'frozen_cache' not in runner.message_hub.state_dict()['runtime_info']  # not a part of checkpoints
    hook.after_train(runner)
    assert frozen_outputs.frozen_cache() is None


def test_a_full_cache_computes(tmp_path):
    cache = TensorCache(str(tmp_path), max_gb=1e-9)
    model, clips = tiny.model('dvis').train(), torch.randn(1, 2, 3, 64, 96)
    calls = counted(model.segmenter)
    first, second = losses(model, clips, cache), losses(model, clips, cache)
    assert len(calls) == 4 and not list(tmp_path.iterdir())
    assert all(torch.equal(first[0][name], second[0][name]) for name in first[0])
