"""Toy videos in the layouts of VIPSeg, YouTube-VIS and VSPW give the same targets."""

import json
import sys

import numpy as np
import pytest
from helpers.commands import load

from mmdvis.datasets.toy.layouts import LAYOUTS
from mmdvis.datasets.toy.scene import SHAPES, SceneOptions
from mmdvis.datasets.toy.videos import write_toy_videos
from mmdvis.registry import DATASETS

THINGS = len(SHAPES)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('layouts')
    write_toy_videos(folder, 5, 4, 2, SceneOptions(size=(64, 96), num_frames=6), num_workers=1, progress=False)
    for layout in LAYOUTS.values():
        for split in ('train', 'val'):
            layout(folder, split)
    return folder


def samples(root, **augment):
    common = dict(clip=dict(num_frames=6), augment=dict(flip=0.0, **augment))
    sets = [
        dict(
            type='VIPSegDataset',
            class_list=None,
            data_root=str(root),
            ann_file='panoptic_gt_VIPSeg_train.json',
            data_prefix=dict(img='images', seg='panomasksRGB'),
        ),
        dict(
            type='YouTubeVISDataset',
            class_list=None,
            data_root=str(root),
            ann_file='youtube_vis/train.json',
            data_prefix=dict(img='images'),
        ),
        dict(
            type='VSPWDataset',
            class_list=None,
            categories='categories.json',
            data_root=str(root / 'vspw'),
            ann_file='train.txt',
        ),
    ]
    datasets = [DATASETS.build(dict(config, **common)) for config in sets]
    assert [len(dataset) for dataset in datasets] == [4, 4, 4]
    assert datasets[0].metainfo['classes'] == datasets[2].metainfo['classes']
    assert datasets[0].metainfo['classes'][:THINGS] == datasets[1].metainfo['classes']
    for k in range(4):
        np.random.seed(k)
        items = []
        for dataset in datasets:
            np.random.seed(k)
            items.append(dataset[k])
        yield items


def masks(sample):
    """Return (label, mask) of every object."""
    maps = sample.gt_index_maps.numpy()
    return [(label, (maps == k).any(0)) for k, label in enumerate(sample.gt_labels.tolist(), 1)]


@pytest.mark.parametrize('augment', (dict(), dict(short_edges=[40, 80], crop=dict(size=(36, 50)))))
def test_targets_are_equal_pixel_by_pixel(root, augment):
    for panoptic, tracks, semantic in samples(root, **augment):
        assert (panoptic['inputs'] == tracks['inputs']).all() and (panoptic['inputs'] == semantic['inputs']).all()
        objects = masks(panoptic['data_samples'])
        things = [(label, mask) for label, mask in objects if label < THINGS]
        track_objects = masks(tracks['data_samples'])
        assert len(things) == len(track_objects) > 0
        for label, mask in things:
            assert sum(label == other and np.array_equal(mask, other_mask) for other, other_mask in track_objects) == 1
        regions = dict(masks(semantic['data_samples']))
        assert set(regions) == {label for label, _ in objects}
        for label, region in regions.items():
            assert np.array_equal(region, np.any([mask for other, mask in objects if other == label], 0))


def test_the_tool_writes_all_layouts(tmp_path, monkeypatch, capsys):
    tool = load('tools/dataset_converters/make_toy_videos.py')
    for options, layouts in (([], True), (['--layouts'], False)):
        out = tmp_path / str(layouts)
        monkeypatch.setattr(
            sys, 'argv', ['tool', str(out), '--num-train', '1', '--num-val', '1', '--workers', '1', *options]
        )
        tool.main()
        assert (out / 'youtube_vis' / 'valid.json').is_file() == layouts == (out / 'vspw' / 'val.txt').is_file()
    assert 'vspw/val.txt' in capsys.readouterr().out
    content = json.loads((tmp_path / 'True' / 'youtube_vis' / 'train.json').read_text())
    assert content['videos'][0]['length'] == len(content['videos'][0]['file_names']) == 20
    assert {a['category_id'] for a in content['annotations']} <= set(range(1, THINGS + 1))
