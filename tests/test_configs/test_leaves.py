"""Every config is loaded, dumped, reloaded, built and stepped once on tiny inputs."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import tiny
from helpers.commands import ROOT
from helpers.configs import load_config
from mmengine.config import Config
from torch import nn

from mmdvis.engine.launch import use_float32_on_cpu
from mmdvis.engine.optimizers.grouped_constructor import parameter_groups
from mmdvis.io import ArrayFrames
from mmdvis.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS
from mmdvis.results import VideoDataSample

CONFIGS = ROOT / 'configs'
LEAVES = sorted(
    p
    for p in CONFIGS.rglob('*.py')
    if '_base_' not in p.parts and 'per_frame' not in p.parts and 'vpsnet' not in p.stem
)


@pytest.mark.parametrize('path', LEAVES, ids=lambda p: p.stem)
def test_a_config_survives_being_dumped(path, tmp_path):
    config = load_config(path)
    config.dump(tmp_path / 'dumped.py')
    again = Config.fromfile(tmp_path / 'dumped.py')
    assert again.model == config.model and again.train_dataloader == config.train_dataloader


@pytest.mark.parametrize('path', LEAVES, ids=lambda p: p.stem)
def test_stages_agree_and_start_from_each_other(path):
    config = load_config(path)
    assert config.model.num_classes == config.num_classes
    assert not any('num_classes' in (config.model.get(stage) or {}) for stage in ('segmenter', 'tracker', 'refiner'))
    if config.model.tracker.type == 'DVISTracker':
        assert config.load_from, 'a later stage needs the checkpoint of the one before'
        if config.model.segmenter.get('reid') and not config.model.get('refiner'):
            assert config.load_from.startswith('checkpoints/')  # its segmenter cannot be trained with mmdvis
            return
        before = Path(config.load_from).parent.name
        assert any(p.stem == before for p in LEAVES)
        assert config.load_from.endswith(
            f'iter_{load_config(next(CONFIGS.rglob(before + ".py"))).train_cfg.max_iters}.pth'
        )


def signature(path):
    """Return the architecture of a model as text, without dataset-specific options and losses."""
    model = load_config(path).model.to_dict()

    def stripped(part):
        if not isinstance(part, dict):
            return part
        return {
            key: stripped(value)
            for key, value in part.items()
            if key
            not in (
                'num_classes',
                'postprocessor',
                'loss',
                'noise',
                'init_cfg',
                'data_preprocessor',
                'trainable',
                'num_queries',
            )
        }

    return json.dumps(stripped(model), sort_keys=True)


def distinct(paths):
    """Return one config for each distinct architecture."""
    by_signature = {}
    for path in paths:
        by_signature.setdefault(signature(path), path)
    return sorted(by_signature.values())


MODELS_OF = distinct(LEAVES)
LARGE = [path for path in MODELS_OF if '_vit-' in path.stem]
STEPPED = [  # every kind of model in each run, further sizes of Swin in the slow ones
    pytest.param(path, marks=pytest.mark.slow)
    if re.match(r'mask2former_swin-[sbl]|dvis-online_swin-', path.stem)
    else path
    for path in MODELS_OF
    if path not in LARGE
]


def groups_by_hand(model, lr, decay, factor):
    """Return the learning rate and weight decay of every trainable parameter, following the recipe."""
    norms = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)
    groups = {}
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(prefix, recurse=False):
            if parameter.requires_grad:
                free = isinstance(module, norms) or (isinstance(module, nn.Embedding) and 'level_encoding' not in name)
                free = free or 'relative_position_bias_table' in name or 'absolute_pos_embed' in name
                groups[id(parameter)] = (lr * (factor if 'backbone' in name else 1.0), 0.0 if free else decay)
    return groups


def check_groups(model, config):
    """Every trainable parameter is in exactly one group, with the learning rate and weight decay of the recipe."""
    rules = dict(config.optim_wrapper.paramwise_cfg)
    optimizer = config.optim_wrapper.optimizer
    groups = parameter_groups(model, optimizer.lr, optimizer.weight_decay, **rules)
    settings = [(id(p), (group['lr'], group['weight_decay'])) for group in groups for p in group['params']]
    assert len(settings) == len({key for key, _ in settings}) == sum(p.requires_grad for p in model.parameters())
    factor = rules.get('lr_mult', {}).get('backbone', 1.0)
    expected = groups_by_hand(model, optimizer.lr, optimizer.weight_decay, factor)
    assert all(expected[key] == pytest.approx(value) for key, value in settings)


def check_layer_rates(model, config):
    """EoMT: block i of L has the rate lr * 0.8^(L - 1 - i), what comes before as block 0; the rest lr; all decay.

    With DINOv3, lr is twice that, also in the last blocks. VidEoMT: 0.6 in place of 0.8, alike for both.
    """
    rules, optimizer = dict(config.optim_wrapper.paramwise_cfg), config.optim_wrapper.optimizer
    groups = parameter_groups(model, optimizer.lr, optimizer.weight_decay, **rules)
    rates = {id(p): group for group in groups for p in group['params']}
    depth, is_video = len(model.segmenter.backbone.blocks), config.model.segmenter.type == 'VidEoMTSegmenter'
    is_dinov3 = not is_video and config.model.segmenter.backbone.type == 'DINOv3'
    decay = 0.6 if is_video else 0.8
    first_full = depth - model.segmenter.num_blocks if is_dinov3 else depth - 1
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:  # not used
            assert name == 'segmenter.backbone.mask_token'
            continue
        block = re.match(r'segmenter\.backbone\.blocks\.(\d+)\.', name)
        power = depth - 1 - int(block[1]) if block and int(block[1]) < first_full else 0
        if 'backbone' in name and not block and 'backbone.norm' not in name:
            power = depth - 1
        group = rates[id(parameter)]
        assert (
            group['lr'] == pytest.approx((2e-4 if is_dinov3 else 1e-4) * decay**power) and group['weight_decay'] == 0.05
        ), name
        assert group['is_late'] == ('backbone' in name)


@pytest.mark.parametrize('path', STEPPED, ids=lambda p: p.stem)
def test_a_model_is_built_and_stepped_once(path):
    torch.manual_seed(0)
    config = load_config(path)
    config.model.segmenter.backbone.pop('init_cfg', None)  # weights that cannot be reached here
    use_float32_on_cpu(config)
    for name in ('segmenter', 'tracker', 'refiner'):
        if 'loss' in (config.model.get(name) or {}):
            config.model[name].loss.num_points = 64  # the only option that is reduced for the test
    model = MODELS.build(config.model).train()
    if not {'toy', 'davis', 'camvid'} & set(path.parts):  # these use another recipe, which decays biases differently
        check_groups(model, config)
    constructor = OPTIM_WRAPPER_CONSTRUCTORS.get(config.optim_wrapper.constructor)
    wrapper = constructor(
        {k: v for k, v in config.optim_wrapper.items() if k not in ('constructor', 'paramwise_cfg')},
        config.optim_wrapper.paramwise_cfg,
    )(model)
    frames = min(config.train_dataloader.dataset.clip.num_frames, 3)
    sample = VideoDataSample()
    targets = tiny.targets(frames)
    sample.set_field(replace(targets, labels=targets.labels % config.num_classes), 'gt_targets')
    before = [p.detach().clone() for p in model.parameters() if p.requires_grad]
    losses = model(torch.randn(1, frames, 3, 64, 96), [sample], mode='loss')
    loss, _ = model.parse_losses(losses)
    wrapper.update_params(loss)
    changed = [not torch.equal(a, b) for a, b in zip(before, (p for p in model.parameters() if p.requires_grad))]
    assert torch.isfinite(loss) and sum(changed) > 0.9 * len(changed)
    video = ArrayFrames(torch.randint(0, 256, (2, 3, 40, 50), dtype=torch.uint8))
    result = model.eval().predict([video], [VideoDataSample()])[0]
    assert any(field in result for field in ('pred_panoptic', 'pred_instances', 'pred_semantic'))


@pytest.mark.parametrize('path', LARGE, ids=lambda p: p.stem)
def test_a_large_model_is_built_without_memory(path):
    config = load_config(path)
    with torch.device('meta'):
        model = MODELS.build(config.model)
    if config.model.segmenter.type in ('EoMTSegmenter', 'VidEoMTSegmenter'):
        return check_layer_rates(model, config)
    check_groups(model, config)
    transformer = [p for name, p in model.named_parameters() if 'vit_module' in name]
    assert transformer and not any(p.requires_grad for p in transformer)
    assert {p.device.type for p in model.parameters()} == {'meta'}


@pytest.mark.parametrize(
    'name, expected, learning',
    [
        ('minvis_r50_8xb1-t1-20k_ovis-360p', 44_009_242, 43_956_122),
        ('minvis_swin-l_8xb1-t1-20k_ovis-480p', 215_507_854, 215_507_854),
    ],
)
def test_parameters_of_the_paper(name, expected, learning):
    """For K = 25 classes the paper reports 43.95 M and 215.30 M.

    The batch norm layers of ResNet, including scale and shift, are frozen.
    """
    model = MODELS.build(load_config(CONFIGS / 'minvis' / f'{name}.py').model)
    assert sum(p.numel() for p in model.parameters()) == expected
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == learning


@pytest.mark.parametrize('path', LEAVES, ids=lambda p: p.stem)
def test_a_name_says_what_is_in_it(path):
    """Names have the form {model}_{backbone}_{gpus}xb{clips}-t{frames}-{iters}_{dataset}."""
    match = re.fullmatch(r'[\w-]+?_[\w-]+?_\d+xb(\d+)(?:-t(\d+))?(?:-(\d+)k)?_[\w-]+', path.stem)
    if match is None:
        assert '_released_' in path.stem
        return
    config, (clips, frames, thousands) = load_config(path), match.groups()
    assert config.train_dataloader.batch_size == int(clips)
    assert config.train_dataloader.dataset.clip.num_frames == int(frames or 1)
    if thousands:
        assert config.train_cfg.max_iters // 1000 == int(thousands)
        if config.param_scheduler.type == 'TwoStagePolyLR':
            assert config.param_scheduler.end == config.train_cfg.max_iters
            return
        milestones = config.param_scheduler.milestones
        assert milestones[-1] < config.train_cfg.max_iters and (
            len(milestones) == 2 or milestones == [int(0.7 * config.train_cfg.max_iters)]
        )


def test_the_three_vipseg_stages_follow_the_recipe():
    """The DVIS paper uses clip lengths 1, 5 and 21, reversal and crop for the refiner, and 20k iterations."""
    options = {}
    for folder, stem in (
        ('minvis', 'minvis_r50_8xb1-t1-20k'),
        ('dvis', 'dvis-online_r50_8xb1-t5-20k'),
        ('dvis', 'dvis-offline_r50_8xb1-t21-20k'),
    ):
        config = load_config(CONFIGS / folder / f'{stem}_vipseg-720p.py')
        data = config.train_dataloader.dataset
        options[stem] = (data.clip.num_frames, data.clip.get('reverse', 0), data.augment.get('crop'))
        assert (config.train_cfg.max_iters, config.param_scheduler.milestones) == (20000, [14000])
        assert (config.optim_wrapper.optimizer.lr, config.optim_wrapper.clip_grad.max_norm) == (1e-4, 0.01)
        assert config.test_dataloader.dataset.test == dict(short_edge=720, max_edge=1333)
    assert list(options.values()) == [(1, 0, None), (5, 0, None), (21, 0.5, dict(size=(608, 608)))]
