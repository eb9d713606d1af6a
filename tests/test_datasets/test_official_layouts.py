"""Every dataset in its official layout: a training step, validation with its metrics, and a submission."""

import json
import zipfile

import numpy as np
import pytest
from helpers import official_layouts as official
from helpers import tiny_datasets
from helpers.damage import dataset_config
from helpers.tiny_datasets import settings_of

from mmdvis.datasets import classes as class_lists
from mmdvis.datasets.transforms import ids_and_labels_of
from mmdvis.engine.launch import load_config, train
from mmdvis.engine.launch import test as run_test
from mmdvis.registry import DATASETS

KINDS = (
    'vipseg',
    'vspw_720p',
    'ovis_360p',
    'youtube_vis_2019_360p',
    'youtube_vis_2021_360p',
    *(
        pytest.param(kind, marks=pytest.mark.slow)
        for kind in ('cityscapes_vps', 'viper_vps', 'coco_panoptic', 'coco_instance')
    ),
)
FIGURE = dict(vipseg='VPQ', vspw_720p='mIoU', cityscapes_vps='VPQ', viper_vps='VPQ', coco_panoptic='PQ')
WRITTEN = dict(  # files in the submission of each dataset
    vipseg=['pred.json', 'pan_pred/0_val/00000010.png'],
    vspw_720p=['0_val/00000010.png'],
    cityscapes_vps=['pred.json', 'pan_pred/0003_0013_city_000003_000004.png'],
    viper_vps=['pred.json', 'pan_pred/0_val_day/00000010.png'],
    coco_panoptic=['pred.json', 'pan_pred/1/000000000001.png'],
)


SLOW = ('youtube_vis_2021_360p',)  # the layout of 2019


@pytest.mark.parametrize('kind', [pytest.param(k, marks=pytest.mark.slow) if k in SLOW else k for k in KINDS])
def test_from_official_files_to_a_submission(kind, tmp_path):
    tiny_datasets.write(kind, tmp_path / 'data')
    settings = settings_of(kind, tmp_path / 'data')
    settings.train_dataloader.dataset.clip = dict(num_frames=2)
    settings.work_dir, settings.experiment_name = str(tmp_path / 'run'), f'{kind}_{tmp_path.name}'
    (tmp_path / 'config.py').write_text(settings.pretty_text)
    checkpoint = train(load_config(str(tmp_path / 'config.py'), str(tmp_path / 'run')))
    logged = [
        json.loads(line) for path in (tmp_path / 'run').rglob('scalars.json') for line in path.read_text().splitlines()
    ]
    figures = {key: value for line in logged for key, value in line.items()}
    name = FIGURE.get(kind, 'AP')
    assert any(key == name or key.endswith(f'/{name}') for key in figures), figures
    assert all(np.isfinite(value) for key, value in figures.items() if 'loss' in key) and 'loss' in figures
    config = load_config(str(tmp_path / 'config.py'), str(tmp_path / 'run'))
    config.test_evaluator = [dict(type='SubmissionWriter', out_dir=str(tmp_path / 'submission'))]
    run_test(config, str(checkpoint))
    files = zipfile.ZipFile(tmp_path / 'submission' / 'submission.zip').namelist()
    assert set(WRITTEN.get(kind, ['results.json'])) <= set(files)
    if kind == 'cityscapes_vps':
        pngs = [file for file in files if file.endswith('.png')]
        assert (
            len(pngs) == 12
            and len(json.loads((tmp_path / 'submission' / 'pred.json').read_text())['annotations']) == 12
        )


def build(settings, split='train', **options):
    return DATASETS.build(dict(settings[f'{split}_dataloader'].dataset, **options))


@pytest.mark.parametrize(
    'kind, things, stuff',
    [
        ('vipseg', 58, 66),
        ('vspw_720p', 58, 66),
        ('ovis_360p', 25, 0),
        ('youtube_vis_2019_360p', 40, 0),
        ('youtube_vis_2021_360p', 40, 0),
        ('cityscapes_vps', 8, 11),
        ('viper_vps', 10, 13),
        ('coco_panoptic', 80, 53),
    ],
)
def test_class_counts(kind, things, stuff, tmp_path):
    tiny_datasets.write(kind, tmp_path)
    settings = tiny_datasets.config(kind, tmp_path)
    meta = build(settings).metainfo
    assert (meta['num_things'], len(meta['classes']) - meta['num_things']) == (things, stuff)
    assert settings.num_classes == things + stuff == len(meta['category_ids']) == len(meta['palette'])
    assert settings.postprocessor.get('num_things', things) == things


def test_vipseg_and_vspw_have_one_order():
    a, b = class_lists.known_classes('VIPSeg'), class_lists.known_classes('VSPW')
    assert a.names == b.names and a.category_ids == b.category_ids


def test_targets_are_what_the_scene_has(tmp_path):
    """VIPSeg has three things and two stuff regions; thing 3 is visible in two frames only."""
    tiny_datasets.write('vipseg', tmp_path)
    dataset = build(tiny_datasets.config('vipseg', tmp_path), clip=dict(num_frames=7), augment=dict(flip=0.0))
    sample = dataset[0]['data_samples']
    names = [dataset.metainfo['classes'][label] for label in sample.gt_labels]
    assert sorted(names) == ['car', 'cat', 'grass', 'person', 'sky']
    index = names.index('car') + 1
    assert [(frame == index).any().item() for frame in sample.gt_index_maps[0]] == [
        False,
        False,
        True,
        True,
        False,
        False,
        False,
    ]
    _, regions = official.scene(50)
    for name, region in (('person', 1), ('cat', 2), ('car', 3), ('sky', 4), ('grass', 5)):
        assert np.array_equal(sample.gt_index_maps[0].numpy() == names.index(name) + 1, regions == region)


def test_objects_that_overlap_keep_all_their_pixels(tmp_path):
    tiny_datasets.write('ovis_360p', tmp_path)
    dataset = build(tiny_datasets.config('ovis_360p', tmp_path), clip=dict(num_frames=7), augment=dict(flip=0.0))
    sample, (_, regions) = dataset[0]['data_samples'], official.scene(51)
    assert sample.gt_ids.tolist() == [1, 2, 3] and sample.gt_index_maps.shape[0] == 2
    for thing in (1, 2, 3):
        expected = regions == thing
        if thing == 2:
            expected[:, ::2] |= (regions == 1)[:, ::2]
        assert np.array_equal((sample.gt_index_maps == thing).any(0).numpy(), expected)


def test_sixteen_bit_and_colour_maps_of_cityscapes_agree(tmp_path):
    tiny_datasets.write('cityscapes_vps', tmp_path)
    common = dict(type='CityscapesVPSDataset', data_root=str(tmp_path), clip=dict(num_frames=6), augment=dict(flip=0.0))
    colour = DATASETS.build(
        dict(
            common, ann_file='panoptic_gt_val_city_vps.json', data_prefix=dict(img='val/img', seg='val/panoptic_video')
        )
    )[1]['data_samples']
    deep = DATASETS.build(
        dict(common, ann_file='panoptic_im_val_city_vps.json', data_prefix=dict(img='val/img', seg='val/panoptic_inst'))
    )[1]['data_samples']
    assert sorted(colour.gt_labels.tolist()) == sorted(deep.gt_labels.tolist())
    for sample, other in ((colour, deep), (deep, colour)):
        masks = {label: (sample.gt_index_maps[0] == k).numpy() for k, label in enumerate(sample.gt_labels.tolist(), 1)}
        others = {label: (other.gt_index_maps[0] == k).numpy() for k, label in enumerate(other.gt_labels.tolist(), 1)}
        assert all(np.array_equal(masks[label], others[label]) for label in masks)


def test_the_flat_json_of_viper(tmp_path):
    official.viper(tmp_path, class_lists.VIPER.split())
    dataset = DATASETS.build(
        dict(
            type='VIPERVPSDataset',
            data_root=str(tmp_path),
            ann_file='viper_panoptic_train_video.json',
            data_prefix=dict(img='train/img', seg='train/panoptic_video'),
            clip=dict(num_frames=3),
        )
    )
    assert len(dataset) == 2 and dataset.get_data_info(1)['video_id'] == '002'
    assert dataset[1]['inputs'].shape == (3, 3, 40, 56) and len(dataset[1]['data_samples'].gt_ids) >= 4


@pytest.mark.parametrize('kind', ('ovis_360p', 'youtube_vis_2021_360p', 'youtube_vis_2022_480p'))
def test_private_splits_are_read_but_not_scored(kind, tmp_path):
    from mmdvis.errors import BadInputError
    from mmdvis.registry import METRICS

    tiny_datasets.write(kind, tmp_path)
    settings = tiny_datasets.config(kind, tmp_path)
    dataset = build(settings, 'test')
    assert len(dataset) == 2 and len(dataset[0]['inputs']) == 7
    path = tmp_path / settings.test_dataloader.dataset.ann_file
    with pytest.raises(BadInputError, match='contains no annotations, so there is nothing to score against'):
        METRICS.build(dict(type='VISMetric', gt_json=str(path)))
    with pytest.raises(
        ValueError, match='holds no annotations, like the validation and test splits of YouTube-VIS and OVIS'
    ):
        build(settings, 'test', test_mode=False)


def test_the_test_splits_of_vipseg_and_vspw(tmp_path):
    from mmdvis.errors import BadInputError
    from mmdvis.registry import METRICS

    tiny_datasets.write('vipseg', tmp_path / 'a')
    tiny_datasets.write('vspw_720p', tmp_path / 'b')
    settings = tiny_datasets.config('vipseg', tmp_path / 'a')
    item = build(settings, 'test', ann_file='panoptic_gt_VIPSeg_test.json')[0]
    assert item['data_samples'].frame_names[0] == '00000010.jpg' and item['inputs'].read(0, 2).shape == (2, 3, 40, 56)
    with pytest.raises(ValueError, match='like the files of test splits; use it with test_mode=True'):
        build(settings, 'test', ann_file='panoptic_gt_VIPSeg_test.json', test_mode=False)
    with pytest.raises(BadInputError, match='nothing to score against'):
        METRICS.build(dict(type='VPQMetric', gt_json=str(tmp_path / 'a' / 'panoptic_gt_VIPSeg_test.json'), gt_dir='x'))
    settings = tiny_datasets.config('vspw_720p', tmp_path / 'b')
    assert len(build(settings, 'test', ann_file='test.txt')[0]['inputs']) == 7
    with pytest.raises(ValueError, match='there is no folder .*mask'):
        build(settings, 'test', ann_file='test.txt', test_mode=False)


def test_folders_of_images(tmp_path):
    official.folders(tmp_path)
    dataset = DATASETS.build(dict(type='ImageFolderVideoDataset', data_root=str(tmp_path)))
    assert [dataset.get_data_info(k)['video_id'] for k in range(2)] == ['a', 'b'] and len(dataset[0]['inputs']) == 7
    alone = DATASETS.build(dict(type='ImageFolderVideoDataset', data_root=str(tmp_path / 'a')))
    assert len(alone) == 1 and dataset.metainfo['classes'] == ()  # results take the classes of the model
    named = DATASETS.build(dict(type='ImageFolderVideoDataset', data_root=str(tmp_path), categories='VIPSeg'))
    assert named.metainfo['num_things'] == 58
    with pytest.raises(ValueError, match='has no labels and cannot be used for training'):
        DATASETS.build(dict(type='ImageFolderVideoDataset', data_root=str(tmp_path), test_mode=False))


UNLABELLED = {  # splits without annotations: base config -> (changes of its dataset, a file of the submission)
    'vipseg': (dict(ann_file='panoptic_gt_VIPSeg_test.json'), 'pan_pred/0_test/00000010.png'),
    'vspw_720p': (dict(ann_file='test.txt'), '0_test/00000010.png'),
    'ovis_360p': ({}, 'results.json'),
    'youtube_vis_2019_360p': ({}, 'results.json'),
    'youtube_vis_2021_360p': ({}, 'results.json'),
    'youtube_vis_2022_480p': ({}, 'results.json'),
    'cityscapes_vps': (
        dict(
            ann_file='im_all_info_test_city_vps.json',
            annotated='panoptic_im_test_city_vps.json',
            data_prefix=dict(img='test/img_all'),
        ),
        'pan_pred/0005_0025_city_000005_000004.png',
    ),
}


def submitted(settings, dataset, out):
    """Predict a test set with an untrained model and return the file names in the submission archive."""
    from mmdvis.registry import METRICS, MODELS

    model = MODELS.build(tiny_datasets.model(settings)).eval()
    writer = METRICS.build(dict(type='SubmissionWriter', out_dir=str(out)))
    writer.dataset_meta = dataset.metainfo
    for item in (dataset[k] for k in range(len(dataset))):
        result = model.predict([item['inputs']], [item['data_samples']])
        writer.process(None, [sample.to_dict() for sample in result])
    assert writer.evaluate(len(dataset))['videos'] == len(dataset)
    return zipfile.ZipFile(out / 'submission.zip').namelist()


@pytest.mark.parametrize('kind', UNLABELLED)
def test_splits_without_labels_are_predicted_and_packed(kind, tmp_path):
    tiny_datasets.write(kind, tmp_path / 'data')
    settings, (changes, expected) = tiny_datasets.config(kind, tmp_path / 'data'), UNLABELLED[kind]
    assert expected in submitted(settings, build(settings, 'test', **changes), tmp_path / 'out')


def test_folders_of_images_are_predicted_and_packed(tmp_path):
    official.folders(tmp_path / 'data')
    settings = tiny_datasets.config('vipseg', tmp_path)
    dataset = DATASETS.build(
        dict(type='ImageFolderVideoDataset', data_root=str(tmp_path / 'data'), test=dict(short_edge=40))
    )
    files = submitted(settings, dataset, tmp_path / 'out')
    assert {'pred.json', 'pan_pred/a/frame0.png', 'pan_pred/b/frame6.png'} <= set(files)


@pytest.mark.parametrize('kind', ['vipseg', 'youtube_vis_2021_360p', 'cityscapes_vps'])
def test_ids_and_labels_of_a_whole_video_belong_together(kind, tmp_path):
    """Cityscapes-VPS stores the ground truth of training in 16-bit PNGs, which have no list of objects."""
    tiny_datasets.write(kind, tmp_path)
    dataset = DATASETS.build(dataset_config(kind, tmp_path))
    maps, labels = ids_and_labels_of(dataset.get_data_info(0))
    assert labels and set(np.unique(maps).tolist()) - {0} == set(labels)
    sample = dataset[0]['data_samples']
    assert {(i, k) for i, k in zip(sample.gt_ids.tolist(), sample.gt_labels.tolist())} <= set(labels.items())
