"""Configs that `mmdvis data init` writes: what they contain, and that they train."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.commands import ROOT
from helpers.configs import read
from helpers.labelled_videos import write_labelme
from mmengine.config import Config

from mmdvis.analysis.starter_config import STAGES, clips_of, default_lengths, starter_configs
from mmdvis.checkpoints.zoo import find_entry, model_entries
from mmdvis.cli.convert import main as convert
from mmdvis.cli.init_config import main
from mmdvis.cli.test import main as evaluate
from mmdvis.cli.train import main as train
from mmdvis.cli.train_stages import main as train_stages
from mmdvis.datasets.training_data import read_training_data
from mmdvis.engine.work_folder import best_checkpoint
from mmdvis.registry import DATASETS, METRICS, MODELS

POSTPROCESSORS = dict(vipseg='PanopticPostprocessor', ytvis='InstancePostprocessor', vspw='SemanticPostprocessor')


@pytest.fixture(scope='module')
def own_data(tmp_path_factory):
    """Own videos in the three layouts, converted from labelme: layout -> folder."""
    source, folders = tmp_path_factory.mktemp('source'), {}
    for k in range(5):
        write_labelme(source, f'video{k}')
    for layout in POSTPROCESSORS:
        folders[layout] = tmp_path_factory.mktemp('own') / layout
        convert(
            [str(source), str(folders[layout]), '--from', 'labelme', '--to', layout, '--stuff', 'grass', '--val', '0']
        )
    return folders


def written(folder, out, *options):
    assert main([str(folder), '--model', 'minvis_toy', '-o', str(out / 'my.py'), *options]) == 0
    return Config.fromfile(out / 'my.py')


@pytest.mark.parametrize('layout', POSTPROCESSORS)
def test_classes_paths_and_metrics_are_those_of_the_data(own_data, layout, tmp_path):
    config = written(own_data[layout], tmp_path)
    model = MODELS.build(config.model)
    assert model.num_classes == 2 and config.model.postprocessor.type == POSTPROCESSORS[layout]
    train_set, val_set = (DATASETS.build(config[f'{name}_dataloader'].dataset) for name in ('train', 'val'))
    for dataset in (train_set, val_set):
        dataset.full_init()
        assert dataset.metainfo['classes'] == ('cat', 'grass')
    assert 'VIPSeg' not in str(train_set.metainfo) and train_set.metainfo['dataset_type'] == f'dataset {layout}'
    assert config.test_dataloader == config.val_dataloader and config.test_evaluator == config.val_evaluator
    for evaluator in config.val_evaluator:
        METRICS.build(evaluator)
    assert config.load_from == str(find_entry('minvis_toy').weights)
    assert len((tmp_path / 'my.py').read_text().splitlines()) < 60


@pytest.mark.parametrize('layout', POSTPROCESSORS)
def test_videos_are_split_by_the_hash_of_their_names(own_data, layout, tmp_path):
    config = written(own_data[layout], tmp_path)
    train_set, val_set = (DATASETS.build(config[f'{name}_dataloader'].dataset) for name in ('train', 'val'))
    names = [
        {str(dataset.get_data_info(k)['video_id']) for k in range(len(dataset))} for dataset in (train_set, val_set)
    ]
    assert len(train_set) + len(val_set) == 5 and len(val_set) >= 1 and not names[0] & names[1]
    dataset = read_training_data(own_data[layout])
    hashes = {name: hashlib.sha256(name.encode()).digest()[:8] for name in names[0] | names[1]}
    chosen = {name for name, digest in hashes.items() if int.from_bytes(digest, 'big') < 0.2 * 2**64}
    assert names[1] == (chosen or {min(hashes, key=lambda n: hashlib.sha256(n.encode()).hexdigest())})
    assert dataset.num_videos == len(train_set) and dataset.num_frames == 3 * len(train_set)
    assert not read_training_data(own_data[layout], 0.0).val_videos


def test_clips_of_a_batch_have_one_size(own_data, tmp_path):
    dataset = DATASETS.build(written(own_data['vipseg'], tmp_path).train_dataloader.dataset)
    assert len({tuple(dataset[k % len(dataset)]['inputs'].shape) for k in range(12)}) == 1
    mixed = clips_of([(720, 1280), (480, 480), (1280, 720)], 480)['augment']
    assert mixed['crop']['size'] == (384, 384) and mixed['short_edges'][0] == 384


def test_stages_inherit_from_each_other(own_data, tmp_path):
    written(own_data['vipseg'], tmp_path, '--stages', *STAGES)
    for stage, name in zip(STAGES, ('my', 'my_tracker', 'my_refiner')):
        config = Config.fromfile(tmp_path / f'{name}.py')
        model = MODELS.build(config.model)
        assert model.trainable == (stage,) and model.num_classes == 2
        frames = dict(segmenter=1, tracker=5, refiner=10)[stage]
        assert config.train_dataloader.dataset.clip.num_frames == frames
        hooks = [hook.type for hook in config.custom_hooks]
        assert hooks == ['CheckpointLoadingHook', 'ClassCountHook', 'EarlyStoppingHook']
    assert config.model.tracker.context == 'first_frame' and config.load_from is None


def test_a_trained_tracker_goes_on_with_the_same_classes(toy_root, tmp_path):
    config_path = tmp_path / 'own.py'
    main([str(toy_root), '--model', 'dvis-online_toy', '-o', str(config_path), '--stages', 'tracker'])
    config = Config.fromfile(config_path)
    model = MODELS.build(config.model)
    assert model.trainable == ('tracker',) and model.refiner is None
    base = Config.fromfile(find_entry('dvis-online_toy').config).train_dataloader.dataset
    assert (config.train_dataloader.dataset.clip, config.train_dataloader.dataset.augment) == (base.clip, base.augment)


def test_further_folders_are_mixed_in(own_data, toy_root, tmp_path):
    out = tmp_path / 'mixed.py'
    words = [str(toy_root), str(toy_root), '--model', 'minvis_toy', '-o', str(out), '--stages', *STAGES[:2]]
    assert main(words) == 0
    for name in ('mixed', 'mixed_tracker'):
        config = Config.fromfile(tmp_path / f'{name}.py')
        loader = config.train_dataloader
        assert loader.dataset.type == 'ConcatClipDataset' and loader.sampler.ratios == [1.0, 1.0]
        assert len(DATASETS.build(loader.dataset)) == 12 and len(DATASETS.build(config.val_dataloader.dataset)) == 3
        assert loader.dataset.clip.num_frames == (5 if name == 'mixed_tracker' else 1)
    with pytest.raises(SystemExit, match='differ in layout or classes, so they cannot be mixed'):
        main([str(toy_root), str(own_data['vipseg']), '--model', 'minvis_toy', '-o', str(tmp_path / 'other.py')])
    assert not (tmp_path / 'other.py').exists()


def test_large_models_keep_their_own_backbone(own_data, tmp_path, capsys):
    arguments = [str(own_data['vipseg']), '--dry-run', '-o', str(tmp_path / 'my.py')]
    assert main([*arguments, '--model', 'minvis_swin-t_coco-panoptic', '--stages', *STAGES]) == 0
    text = capsys.readouterr().out
    assert 'backbone=dict(init_cfg=None)' in text and 'mask2former_swin-t_' in text and 'num_heads=8' in text
    assert not list(tmp_path.iterdir())
    (tmp_path / 'config.py').write_text(text.split('# ---- ')[1].split('\n', 1)[1])
    assert Config.fromfile(tmp_path / 'config.py').model.segmenter.backbone.init_cfg is None


def test_lengths_follow_the_data_and_the_device(own_data):
    data = read_training_data(own_data['vipseg'])
    lengths = default_lengths(data)
    assert lengths.iterations == 500 and lengths.interval == 50
    assert lengths.batch_size == 2 or torch.cuda.is_available()
    assert default_lengths(data, 3, 40).num_clips('tracker') == 1 and default_lengths(data, 3, 40).iterations == 40


def trainable_entries():
    """Every model whose weights may be trained further; those after the first of a folder of configs are slow."""
    entries = [entry for entry in model_entries().values() if entry.licence is not None]
    entries = [entry for entry in entries if read(entry.config).model.type == 'DVIS']
    folders = [Path(entry.config).parent for entry in entries]
    assert len(entries) > 20
    return [
        pytest.param(entry, id=entry.name, marks=[pytest.mark.slow] if folders[k] in folders[:k] else [])
        for k, entry in enumerate(entries)
    ]


@pytest.mark.parametrize('entry', trainable_entries())
def test_configs_of_all_models_and_stages_can_be_loaded(entry, own_data, tmp_path):
    """Every model with weights, all stages: nothing is left of the classes and the data of its own config."""
    data, kind = read_training_data(own_data['vipseg']), read(entry.config).model.segmenter.type
    stages = STAGES if kind == 'Mask2FormerSegmenter' else STAGES[:1]
    texts = starter_configs(data, entry, Path('weights.pth'), tmp_path / 'm.py', default_lengths(data), stages)
    for path, text in texts.items():
        path.write_text(text)
    for path in texts:
        config = Config.fromfile(path)
        used = ('model', 'train_dataloader', 'val_dataloader', 'test_dataloader', 'test_evaluator', 'optim_wrapper')
        text = str({name: config[name] for name in used})
        assert '_delete_' not in text and 'data/coco' not in text and config.model.num_classes == 2, entry.name
    if kind == 'VidEoMTSegmenter':  # it learns to track, too
        assert config.model.tracker.type == 'FixedTracker'
        assert config.train_dataloader.dataset.clip == dict(num_frames=5, frame_range=2)
    if len(stages) > 1:
        assert config.model.refiner.type == 'TemporalRefiner' and config.model.tracker.type == 'DVISTracker'


def test_random_weights_learn_at_one_rate_and_keep_the_pre_trained_backbone(own_data, tmp_path, capsys):
    arguments = [str(own_data['vipseg']), '--dry-run', '--model', 'minvis_r50_coco-panoptic']
    main([*arguments, '--from-scratch'])
    text = capsys.readouterr().out
    assert 'lr_mult=dict()' in text and 'init_cfg' not in text and 'load_from = None' in text


def test_a_checkpoint_of_ones_own_goes_on(own_data, tmp_path, monkeypatch):
    work = tmp_path / 'work dirs' / 'own'
    work.mkdir(parents=True)
    written(own_data['vipseg'], tmp_path)
    (work / 'own.py').write_text((tmp_path / 'my.py').read_text())
    torch.save(dict(state_dict={}, meta={}), work / 'iter_9.pth')
    main([str(own_data['vipseg']), '--model', str(work / 'iter_9.pth'), '-o', str(tmp_path / 'next.py')])
    config = Config.fromfile(tmp_path / 'next.py')
    assert config.load_from == str(work / 'iter_9.pth') and config.model.num_classes == 2
    main([str(own_data['vipseg']), '--model', str(work / 'own.py'), '--weights', str(work / 'iter_9.pth'), '-o',
          str(tmp_path / 'third.py')])  # fmt: skip
    assert Config.fromfile(tmp_path / 'third.py').model == config.model
    (work / 'own.py').unlink()
    with pytest.raises(SystemExit, match='there is no config .*own.py beside the checkpoint'):
        main([str(own_data['vipseg']), '--model', str(work / 'iter_9.pth'), '-o', str(tmp_path / 'other.py')])
    with pytest.raises(
        SystemExit, match='my.py is a config and has no weights; name a checkpoint with --weights, or start'
    ):
        main([str(own_data['vipseg']), '--model', str(tmp_path / 'my.py'), '-o', str(tmp_path / 'other.py')])


def test_the_printed_command_is_quoted(own_data, tmp_path, capsys):
    main([str(own_data['vipseg']), '--model', 'minvis_toy', '-o', str(tmp_path / 'one blank.py')])
    assert capsys.readouterr().out.splitlines()[-1] == f"train with: mmdvis train '{tmp_path / 'one blank.py'}'"


def test_validation_videos_come_before_test_videos_and_may_begin_without_objects(own_data, tmp_path):
    for name in ('images', 'panomasksRGB'):
        (tmp_path / name).symlink_to(own_data['vipseg'] / name)
    content = json.loads((own_data['vipseg'] / 'panoptic_gt_VIPSeg_train.json').read_text())

    def part(videos, name):
        chosen = {key: [v for v in content[key] if v['video_id'] in videos] for key in ('videos', 'annotations')}
        path = tmp_path / f'panoptic_gt_VIPSeg_{name}.json'
        path.write_text(json.dumps(dict(content, **chosen)))

    part(['video0', 'video1'], 'train')
    part(['video2'], 'test')
    part(['video3', 'video4'], 'val')
    assert read_training_data(tmp_path).val['ann_file'] == 'panoptic_gt_VIPSeg_val.json'
    part(['video0'], 'train_sub')
    part(['video1'], 'train_dev')
    data = read_training_data(tmp_path)
    assert data.train['ann_file'] == 'panoptic_gt_VIPSeg_train_sub.json' and data.num_videos == 1
    assert data.val['ann_file'] == 'panoptic_gt_VIPSeg_train_dev.json'


def test_data_with_other_things_are_not_mixed(own_data, tmp_path):
    content = json.loads((own_data['vipseg'] / 'panoptic_gt_VIPSeg_train.json').read_text())
    for name in ('images', 'panomasksRGB'):
        (tmp_path / name).symlink_to(own_data['vipseg'] / name)
    for category in content['categories']:
        category['isthing'] = 1
    (tmp_path / 'panoptic_gt_VIPSeg_train.json').write_text(json.dumps(content))
    with pytest.raises(SystemExit, match='differ in layout or classes'):
        main([str(own_data['vipseg']), str(tmp_path), '--model', 'minvis_toy', '-o', str(tmp_path / 'my.py')])


FAULTS = [
    (['--val', '1'], '--val must be from 0 to below 1, got 1.0'),
    (['--iters', '0'], '--iters must be at least 1, got 0'),
    (['--batch-size', '-1'], '--batch-size must be at least 1, got -1'),
    (['-o', 'my.txt'], 'a config must end with .py, got my.txt'),
    (['--weights', 'absent.pth'], 'there is no file absent.pth; name a checkpoint'),
    (['--model', 'absent'], 'there is no model absent'),
    (
        ['--model', 'minvis_eomt-s_coco-panoptic', '--from-scratch', '--stages', *STAGES],
        'there is no tracker for models with EoMTSegmenter, so they cannot have this stage',
    ),
    (['--model', 'vpsnet'], 'there is no model vpsnet'),
    (['--stages', 'tracker'], 'minvis_toy has no trained tracker; take --stages segmenter tracker refiner'),
    (['--stages', 'segmenter', 'refiner'], 'stages must be the first of'),
    (['--stages', 'tracker', 'segmenter'], 'stages must be the first of'),
    (['--model', 'dvis-online_toy', '--stages', 'tracker'], 'has 11 classes and the data has 2, so its segmenter'),
]


@pytest.mark.parametrize('options, message', FAULTS)
def test_bad_options_give_one_sentence(own_data, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=message):
        main([str(own_data['vipseg']), '--model', 'minvis_toy', '-o', 'my.py', *options])
    assert not list(tmp_path.iterdir())


def test_folders_without_training_videos_and_existing_configs(own_data, tmp_path):
    with pytest.raises(SystemExit, match='holds no dataset in a known layout'):
        main([str(tmp_path)])
    (tmp_path / 'images').mkdir()
    content = json.loads((own_data['vipseg'] / 'panoptic_gt_VIPSeg_train.json').read_text())
    (tmp_path / 'panoptic_gt_VIPSeg_val.json').write_text(json.dumps(content))
    with pytest.raises(SystemExit, match='has no training videos in the layout of VIPSeg, YouTube-VIS, OVIS or VSPW'):
        main([str(tmp_path)])
    content['categories'][0]['name'] = 'dog'
    (tmp_path / 'panoptic_gt_VIPSeg_train.json').write_text(json.dumps(content))
    with pytest.raises(SystemExit, match='have different classes; all splits of a dataset must have the same'):
        main([str(tmp_path), '--model', 'minvis_toy'])
    (tmp_path / 'my.py').write_text('x = 1\n')
    with pytest.raises(SystemExit, match='my.py exists; name another file with -o'):
        main([str(own_data['vipseg']), '--model', 'minvis_toy', '-o', str(tmp_path / 'my.py')])
    assert (tmp_path / 'my.py').read_text() == 'x = 1\n'


@pytest.mark.slow
@pytest.mark.parametrize('layout', POSTPROCESSORS)
def test_the_config_trains(own_data, layout, tmp_path):
    written(own_data[layout], tmp_path, '--iters', '2')
    train([str(tmp_path / 'my.py'), '--work-dir', str(tmp_path / 'work')])
    best = best_checkpoint(tmp_path / 'work')
    assert best is not None and best.name.startswith('best_') and (tmp_path / 'work' / 'iter_2.pth').exists()
    metrics = tmp_path / 'metrics.json'
    evaluate([str(tmp_path / 'my.py'), str(best), '--work-dir', str(tmp_path / 'work'), '--metrics', str(metrics)])
    assert json.loads(metrics.read_text())


@pytest.mark.slow
def test_three_stages_train_and_the_result_segments_a_folder(own_data, tmp_path, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    written(own_data['vipseg'], tmp_path, '--iters', '2', '--stages', *STAGES)
    configs = [str(tmp_path / f'{name}.py') for name in ('my', 'my_tracker', 'my_refiner')]
    train_stages([*configs, '--work-dir', str(tmp_path / 'work')])
    checkpoint = best_checkpoint(tmp_path / 'work' / 'my_refiner')
    video = own_data['vipseg'] / 'images' / 'video0'
    words = ['run', str(video), '--weights', str(checkpoint), '--out', str(tmp_path / 'out'), '--save', 'json', 'masks']
    subprocess.run([sys.executable, '-m', 'mmdvis', *words], check=True)
    content = json.loads((tmp_path / 'out' / 'video0' / 'result.json').read_text())
    assert [category['name'] for category in content['categories']] == ['cat', 'grass']
