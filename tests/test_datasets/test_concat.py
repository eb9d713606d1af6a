"""Joint training on COCO pseudo clips and a video dataset, with the classes of the video dataset."""

import numpy as np
import pytest
from helpers import tiny_datasets
from helpers.tiny_datasets import settings_of
from mmengine.config import ConfigDict

from mmdvis.engine.launch import load_config, train
from mmdvis.registry import DATASETS

TARGETS = dict(
    ovis_360p=('OVIS', 'OVISDataset'),
    youtube_vis_2019_360p=('YouTubeVIS2019', 'YouTubeVISDataset'),
    youtube_vis_2021_360p=('YouTubeVIS2021', 'YouTubeVISDataset'),
)


def mixture(kind, tmp_path, num_frames=3):
    """Return the config of a concat dataset on tiny copies."""
    tiny_datasets.write(kind, tmp_path / 'video')
    tiny_datasets.write('coco_instance', tmp_path / 'coco')
    settings = settings_of(kind, tmp_path / 'video')
    clip = dict(num_frames=num_frames)
    images = dict(
        type='CocoInstanceClipDataset',
        target=TARGETS[kind][0],
        data_root=str(tmp_path / 'coco'),
        filter_empty=True,
        clip=clip,
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017'),
        augment=dict(short_edges=[36, 44], rotate=dict(angle=15.0), flip=0.5),
    )
    videos = dict(settings.train_dataloader.dataset, clip=clip)
    settings.train_dataloader.dataset = ConfigDict(
        type='ConcatDataset', ignore_keys=['dataset_type', 'palette'], datasets=[images, videos]
    )
    return settings


@pytest.mark.parametrize('kind', TARGETS)
def test_images_move_and_have_the_classes_of_the_videos(kind, tmp_path):
    settings = mixture(kind, tmp_path)
    dataset = DATASETS.build(settings.train_dataloader.dataset)
    classes = DATASETS.build(settings.test_dataloader.dataset).metainfo['classes']
    assert dataset.metainfo['classes'] == classes and len(dataset) == 5
    np.random.seed(0)
    for k in range(3):
        item = dataset[k]
        sample = item['data_samples']
        assert item['inputs'].shape[0] == sample.gt_index_maps.shape[1] == 3
        # the frames are rotated by different angles
        assert not np.array_equal(item['inputs'][0].numpy(), item['inputs'][2].numpy())
        assert len(set(sample.gt_ids.tolist())) == len(sample.gt_ids) and min(sample.gt_ids.tolist(), default=1) >= 1
        assert max(sample.gt_labels.tolist(), default=0) < len(classes)


@pytest.mark.slow
def test_a_mixture_trains_in_batches_of_one_shape(tmp_path):
    settings = mixture('youtube_vis_2019_360p', tmp_path)
    for name in ('val_dataloader', 'val_evaluator', 'val_cfg', 'test_dataloader', 'test_evaluator', 'test_cfg'):
        settings.pop(name)
    settings.train_cfg = dict(type='IterBasedTrainLoop', max_iters=2)
    settings.train_dataloader.update(
        batch_size=2, num_workers=2, sampler=dict(type='ClipSampler', ratios=[1.0, 0.75], batch_size=2, by_shape=True)
    )
    settings.experiment_name = tmp_path.name
    (tmp_path / 'config.py').write_text(settings.pretty_text)
    assert train(load_config(str(tmp_path / 'config.py'), str(tmp_path / 'run'))).name == 'iter_2.pth'


def test_other_classes_cannot_be_mixed(tmp_path):
    settings = mixture('ovis_360p', tmp_path)
    settings.train_dataloader.dataset.datasets[0].target = 'YouTubeVIS2021'
    with pytest.raises(ValueError, match='does not match meta information of the first dataset'):
        DATASETS.build(settings.train_dataloader.dataset)


def test_an_unknown_target_is_named():
    with pytest.raises(ValueError, match="target must be OVIS, .*, YouTubeVIS2022 or None, got 'VIPSeg'"):
        DATASETS.build(dict(type='CocoInstanceClipDataset', target='VIPSeg'))


@pytest.mark.parametrize('indices, expected', [(1, [0]), ([1], [1])])
def test_a_part_of_a_dataset(indices, expected, tmp_path):
    tiny_datasets.write('vipseg', tmp_path)
    config = dict(tiny_datasets.config('vipseg', tmp_path).train_dataloader.dataset)
    names = [f'{k}_train' for k in expected]
    part = DATASETS.build(dict(config, indices=indices))
    assert [part.get_data_info(k)['video_id'] for k in range(len(part))] == names
    whole = DATASETS.build(config)
    whole.get_subset_(indices)
    assert [whole.get_data_info(k)['video_id'] for k in range(len(whole))] == names
    assert whole.video_sizes().tolist() == [[40, 56]]
