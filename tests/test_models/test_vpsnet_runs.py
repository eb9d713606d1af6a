"""VPSNet and per-frame models through the runner, the metrics and the writers of submissions."""

import json
import zipfile

import numpy as np
import pytest
import torch
from helpers import tiny_datasets, tiny_vpsnet
from helpers.commands import ROOT
from helpers.tiny_datasets import settings_of
from mmengine.config import Config, ConfigDict
from PIL import Image

from mmdvis.checkpoints import read_checkpoint
from mmdvis.engine import VideoTrainLoop
from mmdvis.engine.launch import load_config, set_resume, train
from mmdvis.engine.launch import test as run_test
from mmdvis.inference import init_model
from mmdvis.io import ArrayFrames
from mmdvis.registry import DATASETS

TOY = ROOT / 'configs' / 'toy'


def toy_config(variant, toy_root, folder, iters=2, load_from=None):
    """A config of the toy set with small frames and few iterations."""
    (path,) = TOY.glob(f'vpsnet-{variant}_r18*.py')
    config = Config.fromfile(path)
    loader = config.train_dataloader
    loader.update(batch_size=2, num_workers=0, persistent_workers=False, prefetch_factor=None)
    truth = dict(gt_json=f'{toy_root}/panoptic_gt_VIPSeg_val.json', gt_dir=f'{toy_root}/panomasksRGB')
    for part in (loader.dataset, config.test_dataloader.dataset):
        for key, value in (('ann_file', None), ('data_root', str(toy_root))):
            if value:
                part[key] = value
    for evaluator in config.test_evaluator:
        evaluator.update(truth)
    config.train_cfg.max_iters, config.load_from = iters, None if load_from is None else str(load_from)
    config.param_scheduler = [dict(type='ConstantLR', factor=1.0, by_epoch=False)]
    config.default_hooks.update(
        logger=dict(type='LoggerHook', interval=1),
        checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1, max_keep_ckpts=9),
    )
    config.model.detector.roi_head.test_cfg.score_thr = 0.2
    config.experiment_name = f'{variant}_{folder.name}'
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'config.py').write_text(config.pretty_text)
    return load_config(str(folder / 'config.py'), str(folder))


@pytest.fixture(scope='module')
def base(toy_root, tmp_path_factory):
    """A checkpoint of Base after two iterations."""
    return train(toy_config('base', toy_root, tmp_path_factory.mktemp('vps') / 'base'))


@pytest.mark.parametrize(
    'variant', [*(pytest.param(v, marks=pytest.mark.slow) for v in ('fuse', 'track')), 'fusetrack']
)
def test_a_variant_starts_from_base_and_is_scored(variant, base, toy_root, tmp_path):
    config = toy_config(variant, toy_root, tmp_path / variant, load_from=base)
    config.optim_wrapper.optimizer.update(lr=0.0, weight_decay=0.0)  # the weights stay those of Base
    checkpoint = train(config)
    before, after = (read_checkpoint(path) for path in (base, checkpoint))
    assert set(before['state_dict']) < set(after['state_dict'])
    for name, value in before['state_dict'].items():
        assert 'running' in name or 'num_batches' in name or torch.equal(value, after['state_dict'][name]), name
    assert after['meta']['dataset_meta']['classes'][0] == 'disc'
    metrics = run_test(toy_config(variant, toy_root, tmp_path / 'test'), [str(checkpoint)], False)
    assert {'VPQ1', 'VPQ5', 'VPQ10', 'VPQ15', 'VPQ_Th', 'STQ'} <= set(metrics)
    model = init_model(checkpoint)
    result, _ = model.stream(ArrayFrames(tiny_vpsnet.video(3)))
    assert result.classes.names[:2] == ('disc', 'square') and type(model).__name__ == 'VPSNet'


@pytest.mark.slow
def test_a_run_is_resumed(toy_root, tmp_path, monkeypatch):
    whole = read_checkpoint(train(toy_config('fusetrack', toy_root, tmp_path / 'whole', iters=3)))
    train(toy_config('fusetrack', toy_root, tmp_path / 'part', iters=2))
    config = toy_config('fusetrack', toy_root, tmp_path / 'part', iters=3)
    set_resume(config, 'auto')
    iterations, run_iter = [], VideoTrainLoop.run_iter
    monkeypatch.setattr(VideoTrainLoop, 'run_iter', lambda loop, batch: iterations.append(1) or run_iter(loop, batch))
    resumed = read_checkpoint(train(config))
    assert len(iterations) == 1
    for name, value in whole['state_dict'].items():
        assert torch.equal(value, resumed['state_dict'][name]), name
    before = read_checkpoint(tmp_path / 'part' / 'iter_2.pth')
    assert resumed['meta']['iter'] == 3 and len(resumed['optimizer']['state']) == len(before['optimizer']['state'])
    steps = {int(state['step']) for state in resumed['optimizer']['state'].values()}
    assert steps == {3}


@pytest.mark.slow
@pytest.mark.parametrize('kind, things, number', [('cityscapes_vps', 8, 12), ('viper_vps', 10, None)])
def test_official_layouts_are_predicted_written_and_scored(kind, things, number, tmp_path):
    tiny_datasets.write(kind, tmp_path / 'data')
    settings = settings_of(kind, tmp_path / 'data')
    model = Config.fromfile(ROOT / 'configs' / '_base_' / 'models' / 'vpsnet_toy.py').model
    model.update(num_classes=settings.num_classes, fuse=tiny_vpsnet.FUSE, flow=dict(type='DISFlow'))
    model.tracking = ConfigDict(tiny_vpsnet.TRACKING['affinity'])
    model.panoptic.num_things = things
    model.detector.roi_head.test_cfg.score_thr = 0.05
    settings.model = model
    loader = settings.train_dataloader.dataset
    loader.clip = dict(num_frames=2, frame_range=1, order='key_first')
    loader.augment = dict(scale=dict(base=(48, 64), scales=(0.8, 1.25)), crop=dict(size=(40, 56)), flip=0.5)
    settings.work_dir, settings.experiment_name = str(tmp_path / 'run'), f'vps_{kind}_{tmp_path.name}'
    (tmp_path / 'config.py').write_text(settings.pretty_text)
    checkpoint = train(load_config(str(tmp_path / 'config.py'), str(tmp_path / 'run')))
    logged = [json.loads(x) for p in (tmp_path / 'run').rglob('scalars.json') for x in p.read_text().splitlines()]
    figures = {key: value for line in logged for key, value in line.items()}
    assert np.isfinite(figures['loss']) and any(key.endswith('VPQ') for key in figures)
    config = load_config(str(tmp_path / 'config.py'), str(tmp_path / 'run'))
    config.test_evaluator = [dict(type='SubmissionWriter', out_dir=str(tmp_path / 'submission'))]
    run_test(config, str(checkpoint))
    files = zipfile.ZipFile(tmp_path / 'submission' / 'submission.zip').namelist()
    assert 'pred.json' in files
    assert number is None or sum(name.endswith('.png') for name in files) == number


def per_frame(toy_root, folder, model, dataset, evaluator):
    """A test config of a per-frame model on the toy set, and a checkpoint of random weights for it."""
    from mmdvis.registry import MODELS

    torch.manual_seed(0)
    weights = {f'{k}': v for k, v in MODELS.build(model).state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(dict(meta={}, state_dict=weights), folder / 'weights.pth')
    settings = Config.fromfile(ROOT / 'configs' / 'toy' / 'minvis_r18_1xb8-t1_toy.py')
    settings.model, settings.test_evaluator = model, evaluator
    settings.test_dataloader.dataset = dataset
    settings.custom_hooks = [dict(type='CheckpointLoadingHook')]
    settings.experiment_name = folder.name
    (folder / 'config.py').write_text(settings.pretty_text)
    return load_config(str(folder / 'config.py'), str(folder)), str(folder / 'weights.pth')


def resnet18(detector, in_channels):
    """Replace the ResNet-50 of a detector of mmdet; ``in_channels`` are those of the layers after it."""
    detector['backbone'].update(depth=18, init_cfg=None)
    in_channels[:] = 64, 128, 256, 512


def test_a_panoptic_model_of_mmdet_is_scored_by_vpq(toy_root, tmp_path):
    model = dict(
        type='PerFrameModel',
        num_classes=11,
        task='vps',
        num_things=6,
        detector=Config.fromfile(
            detector_of('mmdet', 'mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py')
        ).model,
    )
    head = model['detector']['panoptic_head']
    resnet18(model['detector'], head.in_channels)
    head.pixel_decoder.encoder.num_layers, head.transformer_decoder.num_layers, head.num_queries = 1, 3, 20
    model['detector']['test_cfg'].max_per_image = 20
    head.update(num_things_classes=6, num_stuff_classes=5)
    head.loss_cls.class_weight = [1.0] * 11 + [0.1]
    model['detector']['panoptic_fusion_head'].update(num_things_classes=6, num_stuff_classes=5)
    model['detector']['test_cfg'].update(object_mask_thr=0.0, iou_thr=0.0)
    model['detector'] = ConfigDict(dict(model['detector'], type='mmdet.Mask2Former'))
    dataset = dict(
        type='VIPSegDataset',
        class_list=None,
        data_root=str(toy_root),
        ann_file='panoptic_gt_VIPSeg_val.json',
        data_prefix=dict(img='images', seg='panomasksRGB'),
        test_mode=True,
    )
    truth = dict(gt_json=f'{toy_root}/panoptic_gt_VIPSeg_val.json', gt_dir=f'{toy_root}/panomasksRGB')
    config, weights = per_frame(
        toy_root, tmp_path / 'vps', ConfigDict(model), dataset, [dict(type='VPQMetric', **truth)]
    )
    metrics = run_test(config, [weights], False)
    assert 0 <= metrics['VPQ'] <= 1


def test_segformer_is_scored_by_the_measures_of_semantic_segmentation(toy_root, tmp_path):
    from mmdvis.datasets.toy.layouts import LAYOUTS

    LAYOUTS['vspw'](toy_root, 'val')
    root = toy_root / 'vspw'
    detector = Config.fromfile(detector_of('mmseg', 'segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py')).model
    detector.type = 'mmseg.EncoderDecoder'
    detector.backbone.pop('init_cfg', None)
    detector.decode_head.update(num_classes=11, norm_cfg=dict(type='BN'))
    model = dict(type='PerFrameModel', num_classes=11, task='vss', detector=detector)
    dataset = dict(
        type='VSPWDataset',
        class_list=None,
        categories='categories.json',
        data_root=str(root),
        ann_file='val.txt',
        test_mode=True,
    )
    config, weights = per_frame(
        toy_root, tmp_path / 'vss', ConfigDict(model), dataset, [dict(type='VSSMetric', gt_root=str(root))]
    )
    metrics = run_test(config, [weights], False)
    loaded, videos = init_model(config, weights), DATASETS.build(dataset)
    labels, truth = [], []
    for k in range(len(videos)):
        item = videos[k]
        (result,) = loaded.predict([item['inputs']], [item['data_samples']])
        labels.append(result.pred_semantic.label_map)
        for frame in videos.get_data_info(k)['frames']:
            values = np.asarray(Image.open(frame['mask'])).astype(int)
            table = np.array([videos.label_map.get(value - 1, -1) for value in range(256)])
            truth.append(table[values][None])
    labels, truth = np.concatenate(labels), np.concatenate(truth)
    known = truth >= 0
    unions = [((labels == k) | (truth == k))[known].sum() for k in range(11)]
    shared = [((labels == k) & (truth == k))[known].sum() for k in range(11)]
    ratios = [both / union for k, (both, union) in enumerate(zip(shared, unions)) if (truth == k).any()]
    assert metrics['mIoU'] == pytest.approx(np.mean(ratios), abs=1e-9) and {'VC8', 'fwIoU'} <= set(metrics)


def detector_of(scope, name):
    import importlib
    from pathlib import Path

    return Path(importlib.import_module(scope).__file__).parent / '.mim' / 'configs' / name


def test_mask_rcnn_is_scored_by_average_precision_of_tracks(toy_root, tmp_path):
    from mmdvis.datasets.toy.layouts import LAYOUTS

    (name,) = [key for key in LAYOUTS if 'youtube' in key]
    path = LAYOUTS[name](toy_root, 'val')
    model = dict(type='PerFrameModel', num_classes=6, task='vis', score_thr=0.0)
    model['detector'] = Config.fromfile(detector_of('mmdet', 'mask_rcnn/mask-rcnn_r50_fpn_2x_coco.py')).model
    model['detector']['type'] = 'mmdet.MaskRCNN'
    resnet18(model['detector'], model['detector'].neck.in_channels)
    model['detector'].test_cfg.rpn.update(nms_pre=50, max_per_img=50)
    model['detector'].test_cfg.rcnn.max_per_img = 10  # random weights find the maximum in every frame
    for head in ('bbox_head', 'mask_head'):
        model['detector']['roi_head'][head].num_classes = 6
    dataset = dict(
        type='YouTubeVISDataset',
        class_list=None,
        data_root=str(toy_root),
        ann_file=str(path.relative_to(toy_root)),
        data_prefix=dict(img='images'),
        test_mode=True,
    )
    config, weights = per_frame(
        toy_root, tmp_path / 'vis', ConfigDict(model), dataset, [dict(type='VISMetric', gt_json=str(path))]
    )
    metrics = run_test(config, [weights], False)
    assert 0 <= metrics['AP'] <= 1
