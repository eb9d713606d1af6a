"""Reads the hand-written table of recipes, and the same numbers from a config."""

import inspect
import re
from dataclasses import asdict
from fnmatch import fnmatch
from functools import cache

import yaml

import mmdvis.models  # noqa: F401 (registers the classes whose defaults count)
from mmdvis.models.functional.query_noise import QueryNoise
from mmdvis.registry import MODELS

from .commands import ROOT
from .configs import read

CONFIGS = ROOT / 'configs'
TABLE = ROOT / 'tests' / 'test_configs' / 'recipes.yml'
EXEMPT = (  # numbers that do not change what is learned or scored, and variables that are copied into other entries
    '*.num_workers', '*.prefetch_factor', '*.interval', '*.max_keep_ckpts', '*.window_size', 'randomness.seed',
    'train_cfg.val_interval', 'env_cfg.*', 'model.window', '*_dataloader.batch_size', 'num_classes', 'segmenter.*',
    'postprocessor.*', 'crop_first.*', 'augment.*', 'edges*', 'images.*', 'source.*',
    'videos.*', 'clip.*', 'test_evaluator*', 'val_evaluator*', 'val_dataloader.*',
    '*.dataset.datasets.*.clip.*', 'depth', 'layer_rates.*',
)  # fmt: skip


def merged(base, other):
    """The union of two rows; dicts merge key by key."""
    result = dict(base)
    for key, value in other.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


def without_none(row):
    """The row without keys that a leaf took out."""
    kept = {key: without_none(value) if isinstance(value, dict) else value for key, value in row.items()}
    return {key: value for key, value in kept.items() if value is not None and value != {}}


@cache
def rows():
    """Name of each leaf -> its expanded row."""
    table, result = yaml.safe_load(TABLE.read_text()), {}
    for name, leaf in table['leaves'].items():
        row = {}
        for block in leaf['use']:
            row = merged(row, table['blocks'][block])
        row = merged(row, {key: value for key, value in leaf.items() if key != 'use'})
        assert leaf['source'] and all(table['blocks'][block]['source'] for block in leaf['use']), name
        del row['source']
        result[name] = without_none(row)
    return result


def default(part, name):
    """An option of a part of a model, or the default of its class."""
    return part[name] if name in part else inspect.signature(MODELS.get(part['type'])).parameters[name].default


def with_defaults(noise):
    """The options of the noise with their defaults; shuffling has no partner to choose."""
    if noise is None:
        return None
    result = asdict(QueryNoise(**noise))
    return {key: value for key, value in result.items() if key != 'partner' or result['mode'] != 'shuffle'}


class Reader:
    """The numbers of a config, in the keys of the table; remembers which entries were read."""

    def __init__(self, path):
        self.path, self.config = path, read(path).to_dict()
        self.read = set()

    def get(self, path, fallback=None):
        """The entry at a dotted path."""
        value = self.config
        for key in path.split('.'):
            if not isinstance(value, dict) or value.get(key) is None:
                return fallback
            value = value[key]
        self.read.add(path)
        return value

    def row(self):
        """The row of the config."""
        result = {**self.optimisation(), **self.model(), **self.data(), 'test': self.test()}
        return {key: value for key, value in result.items() if value is not None}

    def optimisation(self):
        """Rates, schedule, batch and precision."""
        processes = int((re.search(r'_(\d+)xb', self.path.stem) or [0, '8'])[1])
        scheduler = self.get('param_scheduler')
        single = isinstance(scheduler, dict)
        return dict(
            lr=self.get('optim_wrapper.optimizer.lr'),
            weight_decay=self.get('optim_wrapper.optimizer.weight_decay'),
            clip_grad=self.get('optim_wrapper.clip_grad.max_norm'),
            clip_norm_type=self.get('optim_wrapper.clip_grad.norm_type'),
            auto_scale_batch=self.get('auto_scale_lr.base_batch_size'),
            year=self.year(),
            backbone_lr_mult=self.get('optim_wrapper.paramwise_cfg.lr_mult.backbone', 1.0),
            bias_decay_mult=self.get('optim_wrapper.paramwise_cfg.bias_decay_mult'),
            iters=self.get('train_cfg.max_iters'),
            milestones=self.get('param_scheduler.milestones') if single else None,
            gamma=self.get('param_scheduler.gamma') if single else None,
            linear=None
            if single
            else [[s['start_factor'], s.get('end_factor', 1.0), s['begin'], s['end']] for s in scheduler],
            batch=processes * self.get('train_dataloader.batch_size'),
            amp='Amp' in self.get('optim_wrapper.type'),
        )

    def year(self):
        """The release of YouTube-VIS: [trained on, tested on]."""
        trained = self.get(
            'train_dataloader.dataset.version', self.get('train_dataloader.dataset.datasets.videos.version')
        )
        tested = self.get('test_dataloader.dataset.version')
        return None if tested is None else [trained, tested]

    def normalisation(self):
        """Mean and deviation of the three channels, if they are not those of ImageNet."""
        preprocessor = self.config['model'].get('data_preprocessor') or {}
        if 'mean' not in preprocessor:
            return None
        self.read |= {f'model.data_preprocessor.{kind}[{k}]' for kind in ('mean', 'std') for k in range(3)}
        return [list(preprocessor[kind]) for kind in ('mean', 'std')]

    def model(self):
        """Sizes, losses and noise."""
        model, segmenter = self.config['model'], self.config['model']['segmenter']
        if segmenter['type'] in ('EoMTSegmenter', 'VidEoMTSegmenter'):
            return self.eomt(segmenter)
        trained = next(model[s] for s in ('refiner', 'tracker', 'segmenter') if model.get(s) and model[s].get('loss'))
        loss = {key: value for key, value in trained['loss'].items() if key != 'contrast'}
        result = dict(
            num_classes=self.get('model.num_classes'),
            normalisation=self.normalisation(),
            num_things=self.get('model.postprocessor.num_things', self.get('model.postprocessor.around.num_things')),
            num_queries=self.get('model.segmenter.num_queries'),
            channels=self.get('model.segmenter.channels'),
            mask_channels=self.get('model.segmenter.mask_channels'),
            in_channels=list(self.get('model.segmenter.in_channels')),
            pixel_decoder={
                key: self.get(f'model.segmenter.pixel_decoder.{key}', 4)
                for key in ('num_layers', 'num_heads', 'ffn_channels', 'num_points')
            },
            norm_groups=self.get('model.segmenter.pixel_decoder.norm_groups'),
            decoder={
                key: self.get(f'model.segmenter.decoder.{key}') for key in ('num_layers', 'num_heads', 'ffn_channels')
            },
            loss_weights=list(default(loss, 'weights')),
            contrast=trained['loss'].get('contrast'),
            reid_losses=self.reid_losses(),
            last_channels=self.get('model.tracker.last_channels'),
            guided=default(loss, 'guided') if loss['matching'] != 'frame' else None,
            **{key: default(loss, key) for key in ('no_object_weight', 'num_points')},
            importance_sampling=list(default(loss, 'importance_sampling')),
            **self.backbone(segmenter['backbone']),
        )
        for stage in ('segmenter', 'tracker', 'refiner'):
            self.read.update(f'model.{stage}.loss.{key}' for key in ('num_points', 'contrast', 'guided'))
            options = (model.get(stage) or {}).get('loss') or {}
            assert stage == 'segmenter' or not options or options.get('num_points', 12544) == result['num_points'], (
                stage
            )
        for stage in ('tracker', 'refiner'):
            if (model.get(stage) or {}).get('decoder'):
                sizes = {
                    key: self.get(f'model.{stage}.decoder.{key}') for key in ('num_layers', 'num_heads', 'ffn_channels')
                }
                result[stage] = dict(sizes, channels=self.get(f'model.{stage}.channels'))
                assert self.get(f'model.{stage}.mask_channels') == result['mask_channels']
        result['noise'] = with_defaults(self.get('model.tracker.noise'))
        self.read.add('model.tracker.noise.ratio')
        return result

    def eomt(self, segmenter):
        """Sizes, losses and rates of an encoder-only segmenter."""
        loss, backbone, group = segmenter['loss'], 'model.segmenter.backbone', 'optim_wrapper.paramwise_cfg'
        rates = self.get(f'{group}.lr_mult')
        self.read |= {f'{group}.lr_mult.{key}' for key in rates or ()} | {'model.segmenter.loss.num_points'}
        self.read |= {f'{backbone}.arch.{key}' for key in ('channels', 'depth', 'num_heads')}
        self.read |= {f'model.segmenter.anneal.{key}' for key in ('start', 'length', 'first_block')}
        return dict(
            num_classes=self.get('model.num_classes'),
            num_things=self.get('model.postprocessor.num_things'),
            num_queries=self.get('model.segmenter.num_queries'),
            eomt_blocks=self.get('model.segmenter.num_blocks'),
            divisor=self.get('model.data_preprocessor.divisor'),
            plain_vit={key: self.get(f'{backbone}.{key}') for key in ('arch', 'patch_size', 'table', 'registers')},
            anneal=None
            if segmenter['type'] == 'VidEoMTSegmenter'  # never masked
            else {key: listed(value) for key, value in MODELS.build(plain(segmenter)).anneal.items()},
            normed_state=self.get('model.segmenter.normed_state'),
            loss_weights=list(default(loss, 'weights')),
            **{key: default(loss, key) for key in ('no_object_weight', 'num_points')},
            importance_sampling=list(default(loss, 'importance_sampling')),
            layer_decay=None if rates is None else decay_of(rates),
            late=self.get(f'{group}.late'),
            decay_of_all=self.get(f'{group}.norm_decay_mult') == self.get(f'{group}.embed_decay_mult') == 1.0,
            poly=self.poly(),
        )

    def poly(self):
        """Warm-up, exponent and end of a polynomial schedule, None of others."""
        if 'TwoStagePolyLR' not in str(self.get('param_scheduler')):
            return None
        self.read.add('param_scheduler.begin')
        return listed([self.get(f'param_scheduler.{key}') for key in ('warm_up', 'power', 'end')])

    def reid_losses(self):
        """Weights of the losses of the re-identification embedding, None if it is not trained."""
        reid = self.get('model.segmenter.reid')
        if not isinstance(reid, dict):
            return None
        self.read.update(f'model.segmenter.reid.{key}' for key in reid)
        return reid

    def backbone(self, backbone):
        """Numbers of the backbone."""
        get = self.get
        if backbone['type'] == 'mmdet.SwinTransformer':
            names = dict(depths='depths', num_heads='num_heads', embed_dims='embed_dims', window='window_size',
                         pretrain_img_size='pretrain_img_size')  # fmt: skip
            swin = {key: get(f'model.segmenter.backbone.{name}') for key, name in names.items()}
            swin = {key: list(value) if isinstance(value, tuple) else value for key, value in swin.items()}
            return dict(drop_path=get('model.segmenter.backbone.drop_path_rate'), swin=swin)
        if backbone['type'] == 'HFBackbone':
            return dict(mobilevit_width=get('model.segmenter.backbone.config.width_multiplier'))
        if backbone['type'] == 'mmdet.ResNet':
            sizes = {key: get(f'model.segmenter.backbone.{key}') for key in ('depth', 'frozen_stages', 'base_channels')}
            return dict(resnet={key: value for key, value in sizes.items() if value is not None})
        if backbone['type'] != 'ViTAdapter':
            return {}
        get('model.segmenter.backbone.num_heads')
        vit = dict(
            arch={'large': 'vit-l', 'giant': 'vit-g'}[backbone['vit']['arch']],
            patch_size=default(backbone['vit'], 'patch_size'),
            adapter_num_heads=default(backbone, 'num_heads'),
            num_points=default(backbone, 'num_points'),
            ffn_ratio=default(backbone, 'ffn_ratio'),
            inplanes=default(backbone, 'prior_channels'),
            extra_extractors=default(backbone, 'extra_extractors'),
        )
        if backbone.get('mrfp'):
            vit.update(
                mrfp_ratio=get('model.segmenter.backbone.mrfp.ratio'), mrfp_residual=backbone['mrfp']['residual']
            )
        return dict(vit=vit)

    def data(self):
        """Clips and augmentation."""
        dataset = 'train_dataloader.dataset'
        clip = self.get(f'{dataset}.clip')
        self.read.update(f'{dataset}.clip.{key}' for key in ('num_frames', 'frame_range', 'reverse'))
        result = dict(
            clip_frames=clip['num_frames'], frame_range=clip.get('frame_range'), reverse=clip.get('reverse', 0.0)
        )
        shared = self.get(f'{dataset}.augment', {})
        parts = self.get(f'{dataset}.datasets')
        if parts is None:
            return {**result, **self.augment(dataset, {})}
        result.update(
            self.augment(f'{dataset}.datasets.videos', shared), ratios=self.get('train_dataloader.sampler.ratios')
        )
        return dict(result, coco=self.augment(f'{dataset}.datasets.coco', shared))

    def augment(self, path, shared):
        """The augmentation of one dataset."""
        options = {**self.get(f'{path}.augment', {}), **shared}
        result = dict(filter_empty=bool(self.get(f'{path}.filter_empty', False)), **options)
        if 'crop' in result:
            result['crop'] = list(result['crop']['size']) if 'size' in result['crop'] else dict(result['crop'])
        if 'rotate' in result:
            result['rotate'] = result['rotate']['angle']
        self.read.add(f'{path}.augment.*')
        self.read.add('train_dataloader.dataset.augment.*')
        return listed(result)

    def test(self):
        """Sizes and thresholds at test time."""
        result = {key: self.get(f'test_dataloader.dataset.test.{key}') for key in ('short_edge', 'max_edge')}
        for key in ('score_thr', 'overlap_thr', 'max_num'):
            inner = self.get(f'model.postprocessor.around.{key}')
            result[key] = self.get(f'model.postprocessor.{key}') if inner is None else inner
        return {key: value for key, value in result.items() if value is not None} or None

    def unread(self):
        """Paths of numbers that no key of the table covers."""
        return sorted(
            path
            for path in numbers(self.config)
            if not any(fnmatch(path, pattern) for pattern in EXEMPT)
            and not any(path == read or path.startswith(f'{read}[') or fnmatch(path, read) for read in self.read)
        )


def plain(segmenter):
    """A segmenter with the options of another one, but with a small backbone."""
    arch = dict(channels=8, depth=segmenter['num_blocks'] + 1, num_heads=2, ffn='mlp')
    return dict(segmenter, backbone=dict(segmenter['backbone'], arch=arch, init_cfg=None), num_classes=1)


def decay_of(rates):
    """[factor, number of blocks, number with the full rate if not 1] if rates fall block by block, else the rates."""
    blocks = [rates[key] for key in rates if '.blocks.' in key]
    full = next((k for k, rate in enumerate(blocks[::-1]) if rate != 1), 0)  # of the last blocks with the full rate
    factor = round(blocks[-full - 2] / blocks[-full - 1], 6)
    expected = [1.0 if k >= len(blocks) - full else factor ** (len(blocks) - 1 - k) for k in range(len(blocks))]
    others = {value for key, value in rates.items() if '.blocks.' not in key}
    is_regular = all(abs(a - b) < 1e-9 for a, b in zip(blocks, expected)) and others == {blocks[0]}
    return ([factor, len(blocks)] if full == 1 else [factor, len(blocks), full]) if is_regular else rates


def listed(value):
    """The value with lists in place of tuples."""
    if isinstance(value, dict):
        return {key: listed(item) for key, item in value.items()}
    return [listed(item) for item in value] if isinstance(value, (list, tuple)) else value


def numbers(value, path=''):
    """Dotted paths of all numbers in a nested config."""
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, (int, float)):
        yield path
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from numbers(item, f'{path}.{key}' if path else str(key))
    elif isinstance(value, (list, tuple)):
        for k, item in enumerate(value):
            yield from numbers(item, f'{path}[{k}]')
