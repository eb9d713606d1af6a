"""The configs of VPSNet and of per-frame models: their numbers, and one step of each."""

from functools import cache

import pytest
import torch
import yaml
from helpers import tiny_vpsnet
from helpers.commands import ROOT
from helpers.configs import load_config
from mmengine.config import Config

from mmdvis.io import ArrayFrames
from mmdvis.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS
from mmdvis.structures import ClipTargets

CONFIGS = ROOT / 'configs'
LEAVES = sorted(p for p in CONFIGS.rglob('vpsnet-*.py') if '_base_' not in p.parts)
PER_FRAME = sorted((CONFIGS / 'per_frame').glob('*.py'))
TRACKED = ('track', 'fusetrack', 'fusetrack-cls-sort', 'fusetrack-iou-match', 'fusetrack-disjoined')


def variant_of(path):
    return path.stem.split('_')[0].removeprefix('vpsnet-')


@cache
def table():
    return yaml.safe_load((ROOT / 'tests' / 'test_configs' / 'recipes_vpsnet.yml').read_text())


def flat(values, prefix=''):
    """Dotted name -> value of everything that is no text."""
    result = {}
    for key, value in values.items():
        name = f'{prefix}.{key}'.lstrip('.')
        if isinstance(value, dict):
            result.update(flat(value, name))
        elif value is not None and not isinstance(value, str):
            is_texts = isinstance(value, (list, tuple)) and value and isinstance(value[0], str)
            if not is_texts:
                result[name] = list(value) if isinstance(value, tuple) else value
    return result


def expected_row(path):
    """The row of a config, from the blocks that its name stands for."""
    variant, stem = variant_of(path), path.stem
    names = ['network']
    if 'toy' in stem:
        names += ['sgd', 'toy', *table()['variants'][variant], 'toy_2500' if variant == 'base' else 'toy_1500']
        names += ['toy_flow'] * ('flow' in names) + ['toy_track'] * (variant in TRACKED)
    elif 'coco' in stem:
        names += ['sgd', *table()['variants'][variant], 'coco']
    else:
        data, epochs = stem.split('_')[-1], stem.split('_')[2].split('-')[1]
        if data == 'cityscapes':
            names += ['sgd', 'cityscapes', 'cityscapes_144']
        else:
            names += ['sgd', 'viper' if data == 'viper' else 'city']
            names += [{'144e': 'city_144', '12e': 'viper_12', '192e': 'city_192', '96e': 'city_96'}[epochs]]
        names += table()['variants'][variant]
        if 'released' in stem:
            names += ['released'] + ['released_fuse'] * ('fuse' in variant) + ['released_track'] * (variant in TRACKED)
    row = {}
    for name in names:
        block = table()['blocks'][name]
        assert block['source'], name
        row.update(flat_table({key: value for key, value in block.items() if key != 'source'}))
    if variant in ('track',) and 'released' in stem:  # it has no neck of its own
        row = {key: value for key, value in row.items() if not key.startswith('model.fuse')}
    if 'toy' in stem:
        row = {key: value for key, value in row.items() if key not in ('warmup', 'milestones', 'gamma')}
    if variant == 'base':
        row['clip.num_frames'] = 1
    return {key: value for key, value in row.items() if value is not None}


def flat_table(block):
    result = {}
    for key, value in block.items():
        if isinstance(value, dict):
            result.update({f'{key}.{name}': inner for name, inner in value.items()})
        else:
            result[key] = value
    return result


def actual_row(path):
    """The same numbers, read from a config."""
    config = load_config(path).to_dict()
    loader, optim = config['train_dataloader'], config['optim_wrapper']
    processes = int(path.stem.split('xb')[0].split('_')[-1])
    row = flat(dict(model={k: v for k, v in config['model'].items() if k != 'trainable'}))
    row.update(flat(dict(clip=loader['dataset']['clip'], augment=loader['dataset']['augment'])))
    row.update(flat(dict(optimizer=optim['optimizer'], clip_grad=optim['clip_grad'])))
    row.update(flat(optim.get('paramwise_cfg') or {}))
    row.update(batch=processes * loader['batch_size'], iters=config['train_cfg']['max_iters'])
    if 'auto_scale_lr' in config:
        row['auto_scale_batch'] = config['auto_scale_lr']['base_batch_size']
    row.update(flat(dict(test=config['test_dataloader']['dataset'].get('test') or {})))
    schedule = config['param_scheduler']
    if schedule[1]['type'] == 'MultiStepLR':
        row['warmup'] = [schedule[0]['start_factor'], schedule[0]['begin'], schedule[0]['end']]
        row.update(milestones=schedule[1]['milestones'], gamma=schedule[1]['gamma'])
    else:
        row['linear'] = [[s['start_factor'], s.get('end_factor', 1.0), s['begin'], s['end']] for s in schedule]
    return row


def test_there_are_nine_variants_for_each_dataset():
    for data in ('_viper', '12e_viper', '144e_cityscapes-vps', '_toy'):
        found = {variant_of(path) for path in LEAVES if path.stem.endswith(data)}
        assert found == set(table()['variants']), data
    images = {variant_of(path) for path in LEAVES if path.stem.endswith('144e_cityscapes')}
    assert images == {'base', 'align', 'attend', 'fuse'}
    assert len([path for path in LEAVES if 'released' in path.stem]) == 3
    assert len(LEAVES) == 9 * 3 + 4 + 3 + 1


@pytest.mark.parametrize('path', LEAVES, ids=lambda p: p.stem)
def test_a_config_has_the_numbers_of_its_recipe(path):
    expected, actual = expected_row(path), actual_row(path)
    if 'coco' in path.stem:
        expected = {k: v for k, v in expected.items() if not k.startswith(('augment.scale', 'augment.crop'))}
    different = {
        k: (expected.get(k), actual.get(k)) for k in expected.keys() | actual.keys() if expected.get(k) != actual.get(k)
    }
    assert not different


@pytest.mark.parametrize('path', LEAVES, ids=lambda p: p.stem)
def test_parts_of_a_variant(path):
    model, variant = load_config(path).model, variant_of(path)
    assert (model.tracking.get('head') is not None) == (variant in TRACKED)
    kinds = {
        'track': 'Affinity',
        'fusetrack': 'Affinity',
        'fusetrack-disjoined': 'Affinity',
        'fusetrack-iou-match': 'FlowIoU',
    }
    assert model.tracking.associator.type == f'{kinds.get(variant, "Rank")}Associator'
    feature = model.tracking.get('feature', 'fused')
    assert variant not in TRACKED or feature == ('raw' if variant in ('track', 'fusetrack-disjoined') else 'fused')
    assert model.get('trainable', 'all') == (('track_head',) if variant == 'fusetrack-disjoined' else 'all')
    config = load_config(path)
    if variant != 'base' and 'toy' not in path.stem:
        before = config.load_from.split('/')[1]
        assert any(other.stem == before for other in LEAVES)
        iters = load_config(next(p for p in LEAVES if p.stem == before)).train_cfg.max_iters
        assert config.load_from.endswith(f'iter_{iters}.pth')


@pytest.mark.parametrize('path', LEAVES, ids=lambda p: p.stem)
def test_a_config_survives_being_dumped(path, tmp_path):
    config = load_config(path)
    config.dump(tmp_path / 'dumped.py')
    again = Config.fromfile(tmp_path / 'dumped.py')
    assert again.model == config.model and again.train_dataloader == config.train_dataloader


def small(path):
    """The model of a config at a size for tests: its options, with the toy detector."""
    model = load_config(path).model
    if 'toy' not in path.stem:
        toy = load_config(CONFIGS / '_base_' / 'models' / 'vpsnet_toy.py').model.detector
        loss_at = model.detector.semantic_head.get('loss_at', 'quarter')
        model.detector = toy
        model.detector.semantic_head.loss_at = loss_at
        for part in (model.get('fuse'), model.tracking.get('head')):
            if part:
                part['channels' if part['type'] == 'TemporalFuse' else 'in_channels'] = 64
        if model.tracking.get('head'):
            model.tracking.head.channels = 16
    model.detector.roi_head.test_cfg.score_thr = 0.2
    return model


@pytest.mark.parametrize('path', [p for p in LEAVES if 'viper' not in p.stem], ids=lambda p: p.stem)
def test_a_config_is_built_stepped_and_predicts(path):
    torch.manual_seed(0)
    config = load_config(path)
    model = MODELS.build(small(path)).train()
    constructor = OPTIM_WRAPPER_CONSTRUCTORS.get(config.optim_wrapper.constructor)
    settings = {k: v for k, v in config.optim_wrapper.items() if k not in ('constructor', 'paramwise_cfg')}
    wrapper = constructor(settings, config.optim_wrapper.get('paramwise_cfg'))(model)
    inputs, samples = tiny_vpsnet.clip(config.train_dataloader.dataset.clip.num_frames, batch=1)
    for sample in samples:  # labels of the small clips, in the classes of the config
        targets = sample.gt_targets
        labels = torch.where(targets.labels == 4, torch.tensor(model.num_classes - 1), targets.labels)
        fields = dict(ids=targets.ids, masks=targets.masks, visible=targets.visible)
        sample.set_field(ClipTargets(labels, **fields), 'gt_targets')
    before = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    loss, _ = model.parse_losses(model(inputs, samples, mode='loss'))
    wrapper.update_params(loss)
    changed = {name for name, p in model.named_parameters() if name in before and not torch.equal(p, before[name])}
    assert loss.isfinite() and len(changed) > 0.7 * len(before)
    model.eval()
    result, _ = model.stream(ArrayFrames(tiny_vpsnet.video(3)))
    assert result.num_frames == 3 and result.id_map.shape == (3, 60, 90)


@pytest.mark.parametrize('path', PER_FRAME, ids=lambda p: p.stem)
def test_a_per_frame_config_names_an_installed_config(path):
    config = load_config(path)
    assert config.model.type == 'PerFrameModel' and config.model.num_classes == config.num_classes
    assert config.model.detector.partition('::')[0] in ('mmdet', 'mmseg')
