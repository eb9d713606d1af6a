"""The three stages in the mmengine runner: checkpoint loading, resuming, guided matching, precision."""

import logging
import os

import pytest
import torch
from helpers import tiny_config
from helpers.commands import ROOT
from mmengine.config import Config
from mmengine.model import BaseModel

from mmdvis.checkpoints import read_checkpoint
from mmdvis.engine.launch import load_config, make_runner, set_accumulation, set_precision, set_resume, train
from mmdvis.engine.launch import test as run_test


@pytest.fixture(scope='module')
def minvis(tmp_path_factory, toy_root):
    """Folder of the configs, and a checkpoint of the first stage."""
    from mmengine.registry import init_default_scope

    init_default_scope('mmdvis')
    folder = tmp_path_factory.mktemp('runs')
    config = load_config(str(tiny_config.write(folder, 'minvis', toy_root)), str(folder / 'minvis'))
    return folder, train(config)


def stage(folder, name, toy_root, load_from, **options):
    path = tiny_config.write(folder, name, toy_root, load_from=load_from)
    return load_config(str(path), str(folder / name), options)


def test_three_stages_hand_over(minvis, toy_root):
    folder, first = minvis
    online = train(stage(folder, 'online', toy_root, first))
    offline = train(stage(folder, 'offline', toy_root, online))
    states = [read_checkpoint(path)['state_dict'] for path in (first, online, offline)]
    for name, value in states[0].items():
        assert torch.equal(value, states[2][name]), f'{name} changed after its stage'
    for name, value in states[1].items():
        assert torch.equal(value, states[2][name]), f'{name} changed after its stage'
    assert {name.split('.')[0] for name in states[2]} == {'segmenter', 'tracker', 'refiner'}
    metrics = run_test(stage(folder, 'offline', toy_root, None), str(offline))
    assert {'VPQ', 'VPQ6_Th', 'VPQ_12468', 'STQ', 'AQ_corrected'} <= set(metrics)
    assert all(0 <= value <= 1 for value in metrics.values() if value == value) and 0 <= metrics['VPQ'] <= 1


def test_a_stage_without_the_one_before_stops(minvis, toy_root):
    folder, _ = minvis
    with pytest.raises(
        ValueError, match='no checkpoint was loaded, but the weights of segmenter must come from the previous stage'
    ):
        train(stage(folder, 'online', toy_root, None), overwrite=True)


def test_a_checkpoint_that_does_not_cover_the_stage_is_named(minvis, toy_root, tmp_path):
    folder, first = minvis
    state = {k: v for k, v in read_checkpoint(first)['state_dict'].items() if 'pixel_decoder' not in k}
    state['segmenter.cls_embed.weight'] = torch.zeros(3, 3)
    torch.save(dict(state_dict=state), tmp_path / 'part.pth')
    with pytest.raises(
        ValueError,
        match=(
            r'part.pth does not fit: .* segmenter.cls_embed.weight is \(3, 3\) .* '
            r'segmenter.pixel_decoder\.\S+ is missing\. Load'
        ),
    ):
        train(stage(folder, 'online', toy_root, tmp_path / 'part.pth'), overwrite=True)


def test_an_unsafe_checkpoint_is_refused_by_the_runner(minvis, toy_root, tmp_path):
    folder, first = minvis
    mark = tmp_path / 'mark'

    class Payload:
        def __reduce__(self):
            return os.system, (f'touch {mark}',)

    torch.save(dict(read_checkpoint(first), extra=Payload()), tmp_path / 'bad.pth')
    with pytest.raises(ValueError, match='bad.pth was not loaded'):
        train(stage(folder, 'online', toy_root, tmp_path / 'bad.pth'), overwrite=True)
    assert not mark.exists()


def test_a_config_inside_a_checkpoint_is_never_evaluated(minvis, toy_root, tmp_path):
    """mmengine executes the text of ``meta.config`` when it resumes."""
    folder, first = minvis
    mark = tmp_path / 'mark'
    content = read_checkpoint(first)
    assert 'config' in content['meta'] or 'cfg' in content['meta']
    content['meta']['config'] = f"__import__('pathlib').Path({str(mark)!r}).touch()"
    torch.save(content, tmp_path / 'bad.pth')
    path = tiny_config.write(tmp_path, 'minvis', toy_root, iters=3)
    config = load_config(str(path), str(tmp_path / 'resumed'))
    set_resume(config, str(tmp_path / 'bad.pth'))
    assert train(config).name == 'iter_3.pth'
    assert not mark.exists()


def test_random_weights_are_never_scored(minvis, toy_root):
    folder, first = minvis
    with pytest.raises(ValueError, match='does not fit: .* tracker.layers.0.rca.in_proj_weight is missing'):
        run_test(stage(folder, 'online', toy_root, None), str(first))


def test_the_prepared_model_is_scored(minvis, toy_root):
    folder, first = minvis
    prepared = []

    def prepare(model):
        assert not model.training
        model = model.with_options(window=2)
        frames = model.__dict__.setdefault('frames', [])
        predict, model.__dict__['predict'] = (
            model.predict,
            lambda inputs, samples: frames.append(len(inputs[0])) or predict(inputs, samples),
        )
        prepared.append(model)
        return model

    run_test(stage(folder, 'minvis', toy_root, None), str(first), prepare=prepare)
    assert prepared.pop().frames == [7] * 3 and not prepared


def test_a_resumed_run_goes_on_in_the_same_stream_of_clips(minvis, toy_root, tmp_path, monkeypatch):
    """The stream continues even if no seed is configured."""
    from mmdvis.models.detectors import DVIS

    videos, loss = [], DVIS.loss

    def spy(self, inputs, data_samples):
        videos.append([s.gt_targets.name.split(',')[0] for s in data_samples])
        return loss(self, inputs, data_samples)

    monkeypatch.setattr(DVIS, 'loss', spy)
    path = tiny_config.write(tmp_path, 'minvis', toy_root, iters=6)
    path.write_text(path.read_text().replace('randomness = dict(seed=0)\n', ''))
    options = {'default_hooks.checkpoint.interval': 3}
    train(load_config(str(path), str(tmp_path / 'run'), options))
    whole = list(videos)
    videos.clear()
    resumed = load_config(str(path), str(tmp_path / 'run'), options)
    set_resume(resumed, str(tmp_path / 'run' / 'iter_3.pth'))
    train(resumed)
    assert videos == whole[3:] and len({tuple(names) for names in whole}) > 1


def test_the_cpu_group_is_for_torchrun(toy_root, tmp_path):
    with pytest.raises(ValueError, match="launcher must be 'pytorch' .*got 'slurm'"):
        load_config(str(tiny_config.write(tmp_path, 'minvis', toy_root)), launcher='slurm')


def test_resume_without_a_checkpoint_keeps_load_from(minvis, toy_root, tmp_path):
    folder, first = minvis
    config = stage(folder, 'online', toy_root, first)
    config.work_dir = str(tmp_path / 'empty')
    set_resume(config, 'auto')
    assert (config.resume, config.load_from) == (False, str(first))
    config.work_dir = str(folder / 'minvis')
    set_resume(config, 'auto')
    assert (config.resume, config.load_from) == (True, str(first))
    with pytest.raises(FileNotFoundError, match='other.pth'):
        set_resume(config, 'other.pth')


def test_the_guided_half_survives_a_resume(minvis, toy_root, tmp_path, monkeypatch):
    """With six iterations, guided matching is used in the first three, even if the run is interrupted."""
    from mmdvis.models.losses import QuerySetLoss

    folder, first = minvis
    calls, match = [], QuerySetLoss.match

    def spy(self, predictions, targets, context):
        calls.append((context.iteration, len(predictions.class_logits)))  # guiding predictions have one layer
        return match(self, predictions, targets, context)

    monkeypatch.setattr(QuerySetLoss, 'match', spy)
    path = tiny_config.write(tmp_path, 'online', toy_root, iters=6, load_from=first)
    options = {'default_hooks.checkpoint.interval': 2}
    train(load_config(str(path), str(tmp_path / 'whole'), options))
    assert calls == [(0, 1), (1, 1), (2, 1), (3, 3), (4, 3), (5, 3)]
    resumed = load_config(str(path), str(tmp_path / 'whole'), options)
    set_resume(resumed, str(tmp_path / 'whole' / 'iter_4.pth'))
    calls.clear()
    final = train(resumed)
    assert calls == [(4, 3), (5, 3)]
    resumed = load_config(
        str(path), str(tmp_path / 'early'), dict(options, **{'default_hooks.checkpoint.max_keep_ckpts': 9})
    )
    calls.clear()
    train(resumed)
    again = load_config(str(path), str(tmp_path / 'early'), options)
    set_resume(again, str(tmp_path / 'early' / 'iter_2.pth'))
    calls.clear()
    assert train(again).name == final.name
    assert calls == [(2, 1), (3, 3), (4, 3), (5, 3)]


def test_the_wrong_number_of_classes_stops(toy_root, tmp_path):
    path = tiny_config.write(tmp_path, 'minvis', toy_root)
    config = load_config(str(path), str(tmp_path), {'model.num_classes': 9})
    with pytest.raises(ValueError, match='the model has num_classes=9 and the dataset has 11 classes'):
        train(config)


@pytest.fixture(autouse=True)
def quiet():
    """Remove the handlers of the mmengine logger, which otherwise accumulate over runs."""
    yield
    logging.getLogger('mmengine').handlers.clear()


@pytest.mark.parametrize('name', ['minvis', 'online'])
def test_bfloat16_trains_with_float32_weights_and_losses(name, minvis, toy_root, tmp_path, monkeypatch):
    """The first losses are close to those of float32 but not equal, because bfloat16 rounds to eight bits."""
    losses = {}
    for kind in ('fp32', 'bf16'):
        config, recorded = stage(tmp_path, name, toy_root, minvis[1]), losses.setdefault(kind, [])
        config.work_dir = str(tmp_path / kind)
        if kind == 'bf16':
            set_precision(config, kind)
        plain, layouts = BaseModel.parse_losses, set()

        def watch(self, found):
            recorded.append(found)
            weights = [x for x in self.segmenter.parameters() if x.dim() == 4 and min(x.shape[1:]) > 1]
            layouts.add(all(x.is_contiguous(memory_format=torch.channels_last) for x in weights))
            return plain(self, found)

        monkeypatch.setattr(BaseModel, 'parse_losses', watch)
        state = read_checkpoint(train(config))['state_dict']
        monkeypatch.undo()
        assert all(value.dtype == torch.float32 for value in state.values() if value.is_floating_point())
        assert layouts == {kind == 'bf16' or name == 'online'}  # channels last in half precision or when frozen
    assert losses['fp32'][0].keys() == losses['bf16'][0].keys()
    for key, value in losses['fp32'][0].items():
        assert losses['bf16'][0][key].dtype == torch.float32
        torch.testing.assert_close(losses['bf16'][0][key], value, rtol=0.1, atol=0.05)
    assert any(not torch.equal(losses['bf16'][0][key], value) for key, value in losses['fp32'][0].items())


def test_an_unknown_precision_is_named(toy_root, tmp_path):
    with pytest.raises(ValueError, match='a sharded model cannot use fp16, .*; use bf16'):
        set_precision(stage(tmp_path, 'minvis', toy_root, None, runner_type='ShardedRunner'), 'fp16')
    with pytest.raises(ValueError, match="the precision must be one of fp16, bf16, got 'fp8'"):
        set_precision(stage(tmp_path, 'minvis', toy_root, None), 'fp8')


def test_a_sharded_recipe_with_the_default_precision_is_refused():
    config = Config.fromfile(ROOT / 'configs' / 'minvis' / 'minvis_r50_8xb1-t1-20k_vipseg-720p.py')
    assert config.optim_wrapper.type == 'AmpOptimWrapper'
    config.runner_type = 'ShardedRunner'
    with pytest.raises(ValueError, match='a sharded model cannot use fp16, .*; use bf16'):
        make_runner(config, trust=False)


def test_accumulating_keeps_updates_and_rates(toy_root, tmp_path):
    """Two updates of three batches each need six iterations; the learning rate schedule is scaled accordingly."""
    config = stage(tmp_path, 'minvis', toy_root, None)
    config.param_scheduler = [
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=1),
        dict(type='MultiStepLR', by_epoch=False, milestones=[1], gamma=0.1),
    ]
    config.auto_scale_lr = dict(enable=True, base_batch_size=6)  # 3 batches of 2: the learning rate is unchanged
    steps, step = [], torch.optim.AdamW.step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            torch.optim.AdamW, 'step', lambda self, *args: steps.append(self.param_groups[0]['lr']) or step(self, *args)
        )
        set_accumulation(config, 3)
        assert train(config).name == 'iter_6.pth'
    assert (config.train_cfg.max_iters, config.param_scheduler[1].milestones, config.param_scheduler[0].end) == (
        6,
        [3],
        3,
    )
    assert config.default_hooks.checkpoint.interval == 6 and len(steps) == 2
    assert max(steps) <= config.optim_wrapper.optimizer.lr < 1.01 * max(steps)


def test_accumulating_needs_a_loop_of_iterations(toy_root, tmp_path):
    config = stage(tmp_path, 'minvis', toy_root, None)
    with pytest.raises(ValueError, match='at least one batch per update .* got 0'):
        set_accumulation(config, 0)
    config.train_cfg = dict(by_epoch=True, max_epochs=3)
    with pytest.raises(ValueError, match='a training loop with max_iters, got 2 and .*max_epochs'):
        set_accumulation(config, 2)
