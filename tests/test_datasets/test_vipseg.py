"""Reading the official files of VIPSeg."""

import json

import numpy as np
import torch
from mmengine.dataset import InfiniteSampler

from mmdvis.datasets.classes import build_class_list
from mmdvis.datasets.transforms.ground_truth import read_id_map
from mmdvis.datasets.vipseg import VIPSegDataset
from mmdvis.registry import DATASETS


def build(root, split='train', **options):
    return DATASETS.build(
        dict(
            type='VIPSegDataset',
            data_root=str(root),
            ann_file=f'panoptic_gt_VIPSeg_{split}.json',
            data_prefix=dict(img='images', seg='panomasksRGB'),
            **dict(dict(class_list=None), **options),
        )
    )


def test_labels_put_things_first():
    classes = build_class_list([(i, 'name', t, None) for i, t in ((3, True), (0, False), (7, False), (2, True))])
    assert classes.labels == {2: 0, 3: 1, 0: 2, 7: 3} and classes.num_things == 2


def test_meta_information(toy_root):
    meta = build(toy_root).metainfo
    assert meta['num_things'] == 6 and len(meta['classes']) == 11
    assert meta['classes'][0] == 'disc' and meta['category_ids'] == tuple(range(11))


def test_a_training_sample(toy_root):
    np.random.seed(0)
    dataset = build(toy_root, clip=dict(num_frames=3), augment=dict(flip=0.0))
    assert len(dataset) == 6
    item = dataset[1]
    sample = item['data_samples']
    assert item['inputs'].shape == (3, 3, 64, 96) and item['inputs'].dtype == torch.uint8
    assert sample.gt_index_maps.dtype == torch.uint8 and sample.gt_index_maps.shape == (1, 3, 64, 96)
    first = sample.frame_indices[0]
    on_disk = read_id_map(toy_root / 'panomasksRGB' / 'train_0001' / f'{first:08d}.png')
    ids = np.concatenate([[0], sample.gt_ids.numpy()])
    assert np.array_equal(ids[sample.gt_index_maps[0, 0].numpy()], on_disk)
    content = json.loads((toy_root / 'panoptic_gt_VIPSeg_train.json').read_text())
    listed = {
        s['id']: s['category_id']
        for f in sample.frame_indices
        for s in content['annotations'][1]['annotations'][f]['segments_info']
    }
    assert dict(zip(sample.gt_ids.tolist(), sample.gt_labels.tolist())) == listed
    assert (sample.gt_ids >= 1).all()


def test_a_test_sample_decodes_nothing(toy_root):
    item = build(toy_root, 'val', test_mode=True, test=dict(short_edge=32))[0]
    source, sample = item['inputs'], item['data_samples']
    assert (len(source), source.size, source.original) == (7, (32, 48), (64, 96))
    assert not isinstance(source, torch.Tensor) and source.read(0, 2).shape == (2, 3, 32, 48)
    assert sample.video_id == 'val_0000' and sample.frame_names[1] == '00000001.png'


def test_crop_and_scale_reach_the_pipeline(toy_root):
    dataset = build(toy_root, clip=dict(num_frames=2), augment=dict(short_edges=[80], crop=dict(size=(50, 60))))
    assert dataset[0]['inputs'].shape == (2, 3, 50, 60)


def test_the_infinite_sampler_can_skip():
    """Resuming continues the same stream of indices without reading the skipped samples."""
    whole, resumed = InfiniteSampler(range(7), seed=3), InfiniteSampler(range(7), seed=3)
    resumed.skip(10)
    first = [index for index, _ in zip(whole, range(25))]
    assert [index for index, _ in zip(resumed, range(15))] == first[10:]


def test_the_dataset_is_registered():
    assert DATASETS.get('VIPSegDataset') is VIPSegDataset
