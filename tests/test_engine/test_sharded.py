"""A model sharded over two processes trains like a replicated one."""

import pytest
import torch
import torch.distributed as dist
from helpers import tiny_config
from helpers.commands import call
from mmengine._strategy import FSDPStrategy

from mmdvis.checkpoints import read_checkpoint
from mmdvis.engine.launch import load_config, make_runner
from mmdvis.engine.sharded import ShardedStrategy, clip_sharded_grads, wrap_by_class_name
from mmdvis.models.backbones.dinov2 import Block

VIT = """
vit = dict(type='DINOv2', arch=dict(channels=16, depth=4, num_heads=2, ffn='mlp'), table=4)
model['segmenter'].update(in_channels=(16, ) * 4, backbone=dict(
    _delete_=True, type='ViTAdapter', vit=vit, num_heads=2, prior_channels=4, norm_cfg=dict(type='BN')))
optim_wrapper = dict(optimizer=dict(_delete_=True, type='SGD', lr=1., momentum=0.9), clip_grad=dict(max_norm=0.5))
"""
SHARDED = """
runner_type = 'ShardedRunner'
strategy = dict(type='mmdvis.ShardedStrategy', units=('Block', 'MaskedDecoderLayer'))
"""


def write(folder, toy_root, sharded, stage='minvis', extra=VIT, **options):
    folder.mkdir(parents=True, exist_ok=True)
    path = tiny_config.write(folder, stage, toy_root, **options)
    path.write_text(path.read_text() + extra + (SHARDED if sharded else ''))
    return path


def run(config, work_dir, *options):
    call('tools/dist_train.sh', config, 2, '--work-dir', work_dir, *options, processes=True)
    return read_checkpoint(sorted(work_dir.glob('iter_*.pth'))[-1])


def assert_alike(one, other, atol=1e-5):
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, atol=atol, rtol=0, msg=lambda text: f'{name}: {text}')


def three_steps(folder, toy_root, sharded):
    """Train the first stage with a frozen transformer; return its folder, config and last checkpoint."""
    config = write(folder, toy_root, sharded, iters=3)
    return folder, config, run(config, folder / 'out', '--cfg-options', 'default_hooks.checkpoint.interval=1')


@pytest.fixture(scope='module')
def plain(toy_root, tmp_path_factory):
    return three_steps(tmp_path_factory.mktemp('plain'), toy_root, False)


@pytest.fixture(scope='module')
def sharded(toy_root, tmp_path_factory):
    return three_steps(tmp_path_factory.mktemp('sharded'), toy_root, True)


@pytest.mark.slow
def test_a_sharded_model_trains_as_a_whole_one(plain, sharded):
    """Gradient clipping needs the norm over all shards; with SGD, weights show the gradient scale."""
    single, split = plain[2], sharded[2]
    assert_alike(single['state_dict'], split['state_dict'])
    assert single['meta']['switches'] == split['meta']['switches']
    moments = split['optimizer']['state']
    assert moments and not any('backbone.vit' in name for name in moments)  # frozen weights have no optimizer state
    assert {name.split('.')[2] for name in moments if 'backbone' in name} >= {'spm', 'interactions'}


@pytest.mark.slow
def test_a_resumed_run_goes_on_as_a_whole_one_does(plain, sharded, tmp_path):
    """The momentum is restored, too; SGD is more sensitive to it than Adam."""
    single, split = (
        run(config, tmp_path / config.parent.name, '--resume', folder / 'out' / 'iter_2.pth')
        for folder, config, _ in (plain, sharded)
    )
    assert single['meta']['iter'] == split['meta']['iter'] == 3
    assert_alike(single['state_dict'], split['state_dict'])


@pytest.mark.slow
def test_the_next_stage_starts_from_it_and_it_is_scored_by_one_process(sharded, toy_root, tmp_path):
    folder, config, before = sharded
    path = write(tmp_path, toy_root, True, stage='online', load_from=folder / 'out' / 'iter_3.pth')
    after = run(path, tmp_path / 'out')['state_dict']
    assert all(torch.equal(after[name], value) for name, value in before['state_dict'].items())
    assert {name.split('.')[0] for name in after} == {'segmenter', 'tracker'}
    assert 'VPQ' in call('tools/test.py', path, tmp_path / 'out' / 'iter_2.pth', '--work-dir', tmp_path / 'test')
    missing = write(tmp_path / 'none', toy_root, True, stage='online')
    assert 'segmenter must come from the previous stage' in call(
        'tools/dist_train.sh', missing, 2, '--work-dir', tmp_path / 'none', fails=True, processes=True
    )


def test_one_process_alone_is_told_how_to_start_more(toy_root, tmp_path):
    config = load_config(str(write(tmp_path, toy_root, True)), str(tmp_path))
    with pytest.raises(ValueError, match='got launcher=none; start it with tools/dist_train.sh'):
        make_runner(config, False)


def test_the_text_of_a_config_in_a_checkpoint_is_dropped(monkeypatch):
    content, loaded = dict(meta=dict(config='import os', iter=3), state_dict={}), []
    monkeypatch.setattr(FSDPStrategy, 'load_checkpoint', lambda self, filename, callback: callback(content))
    object.__new__(ShardedStrategy).load_checkpoint('x.pth', callback=loaded.append)
    assert loaded[0]['meta'] == dict(iter=3) and loaded[0]['filename'] == 'x.pth'


def test_units_are_found_by_the_names_of_their_classes():
    block = Block(8, 2, 'mlp')
    assert (
        wrap_by_class_name(block, False, 0)
        and not wrap_by_class_name(block.attn, False, 0)
        and wrap_by_class_name(block.attn, True, 0)
    )
    assert wrap_by_class_name(block.attn, False, 0, names=('SelfAttention',))


@pytest.mark.parametrize('limit', [0.01, 1e6])
def test_clipping_in_a_single_process_is_torchs(limit, tmp_path):
    shapes = [(3, 4), (0,), (5,)]
    ours, theirs = ([torch.nn.Parameter(torch.zeros(shape)) for shape in shapes] for _ in range(2))
    for param, reference in zip(ours, theirs):
        param.grad = torch.randn_like(param)
        reference.grad = param.grad.clone()
    dist.init_process_group('gloo', init_method=f'file://{tmp_path}/rendezvous', rank=0, world_size=1)
    try:
        norm = clip_sharded_grads(ours, limit)
        assert clip_sharded_grads([], limit) == 0  # a process without gradients takes part all the same
        with pytest.raises(ValueError, match='norm_type must be 2 for sharded gradients, got 1'):
            clip_sharded_grads(ours, limit, norm_type=1)
    finally:
        dist.destroy_process_group()
    torch.testing.assert_close(norm.float(), torch.nn.utils.clip_grad_norm_(theirs, limit))
    for param, reference in zip(ours, theirs):
        torch.testing.assert_close(param.grad, reference.grad)
