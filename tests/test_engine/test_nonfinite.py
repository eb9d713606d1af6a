"""A loss or gradient that is not finite never reaches the weights."""

import pytest
import torch
from helpers import tiny_config

from mmdvis.checkpoints import read_checkpoint
from mmdvis.engine.launch import load_config, set_accumulation, train
from mmdvis.engine.train_loop import VideoTrainLoop
from mmdvis.engine.work_folder import checkpoints_in
from mmdvis.errors import NonFiniteError, OptionError
from mmdvis.models.detectors import DVIS
from mmdvis.models.functional.deform_attn import gathered_attention


def settings(folder, toy_root, **options):
    path = tiny_config.write(folder, 'minvis', toy_root, iters=4)
    keep = {'default_hooks.checkpoint.interval': 1, 'default_hooks.checkpoint.max_keep_ckpts': 9}
    return load_config(str(path), str(folder / 'run'), {**keep, **options})


def poison(monkeypatch, kind, calls):
    """Makes the loss or the gradient of some calls NaN or infinite."""
    loss, count = DVIS.loss, []

    def poisoned(self, inputs, data_samples):
        losses = loss(self, inputs, data_samples)
        count.append(1)
        if len(count) in calls:
            name = next(name for name in losses if 'loss_mask' in name)
            if kind == 'gradient':  # finite value, infinite gradient
                zero = losses[name] - losses[name].detach()
                losses[name] = losses[name].detach() + torch.sqrt(zero * zero)
            else:
                losses[name] = losses[name] * float(kind)
        return losses

    monkeypatch.setattr(DVIS, 'loss', poisoned)


def finite(path):
    content = read_checkpoint(path)
    tensors = [
        *content['state_dict'].values(),
        *(v for s in content['optimizer']['state'].values() for v in s.values()),
    ]
    return all(bool(torch.isfinite(torch.as_tensor(value)).all()) for value in tensors)


@pytest.mark.parametrize('kind', ['nan', 'inf', 'gradient'])
def test_a_run_stops_before_the_update(toy_root, tmp_path, monkeypatch, kind):
    poison(monkeypatch, kind, {3})
    what = r'gradients of \d+ of \d+ parameters' if kind == 'gradient' else r'\S*loss_mask\S*'
    with pytest.raises(NonFiniteError, match=rf'iteration 3, videos train_\d+, train_\d+: (the )?{what}') as caught:
        train(settings(tmp_path, toy_root))
    assert 'The weights were not changed' in str(caught.value) and '--on-nonfinite skip' in str(caught.value)
    paths = checkpoints_in(tmp_path / 'run')
    assert [path.name for path in paths] == ['iter_2.pth', 'iter_1.pth'] and all(map(finite, paths))


@pytest.mark.parametrize('kind', ['nan', 'gradient'])
def test_a_skipped_batch_leaves_weights_and_optimizer(toy_root, tmp_path, monkeypatch, kind):
    poison(monkeypatch, kind, {2})
    last = train(settings(tmp_path, toy_root, **{'train_cfg.on_nonfinite': 'skip'}))
    first, second = (read_checkpoint(tmp_path / 'run' / f'iter_{n}.pth') for n in (1, 2))
    for name, value in first['state_dict'].items():
        if 'running' not in name and 'num_batches' not in name:
            assert torch.equal(value, second['state_dict'][name]), name
    assert last.name == 'iter_4.pth' and finite(last)
    third = read_checkpoint(tmp_path / 'run' / 'iter_3.pth')['state_dict']
    assert any(not torch.equal(value, third[name]) for name, value in second['state_dict'].items())


def test_skipping_has_a_limit(toy_root, tmp_path, monkeypatch):
    poison(monkeypatch, 'nan', {1, 2, 3, 4})
    options = {'train_cfg.on_nonfinite': 'skip', 'train_cfg.max_skipped': 2}
    with pytest.raises(NonFiniteError, match='iteration 3.*2 batches were skipped before it, which is the limit'):
        train(settings(tmp_path, toy_root, **options))


def test_skipping_while_gradients_accumulate(toy_root, tmp_path, monkeypatch):
    poison(monkeypatch, 'nan', {2})
    config = settings(tmp_path, toy_root, **{'train_cfg.on_nonfinite': 'skip'})
    set_accumulation(config, 2)
    last = train(config)
    assert finite(last)
    weights = [read_checkpoint(path)['state_dict'] for path in sorted(checkpoints_in(tmp_path / 'run'))]
    names = [name for name in weights[0] if 'running' not in name and 'num_batches' not in name]
    assert any(not torch.equal(weights[0][name], weights[-1][name]) for name in names)


def test_a_diverging_run_stops(toy_root, tmp_path):
    """The case of the audit: a learning rate of 1e30."""
    with pytest.raises(NonFiniteError, match='not finite'):
        train(settings(tmp_path, toy_root, **{'optim_wrapper.optimizer.lr': 1e30, 'train_cfg.max_iters': 8}))
    assert all(map(finite, checkpoints_in(tmp_path / 'run')))


def test_an_unknown_answer_is_named():
    with pytest.raises(OptionError, match="on_nonfinite must be 'stop' or 'skip', got 'ignore'"):
        VideoTrainLoop(on_nonfinite='ignore')


def test_deformable_attention_at_a_nan_location_is_nan():
    value, weights = torch.rand(1, 12, 2, 4), torch.full((1, 2, 2, 1, 1), 1.0)
    locations = torch.rand(1, 2, 2, 1, 1, 2)
    locations[0, 0, 0] = float('nan')
    out = gathered_attention(value, [(3, 4)], locations, weights)
    assert bool(out[0, 0, :4].isnan().all()) and bool(torch.isfinite(out[0, 0, 4:]).all())
    assert bool(torch.isfinite(out[0, 1]).all())
