"""VIPSeg's official files."""
import json

import numpy as np
import pytest
import torch
from mmengine.dataset import InfiniteSampler

from mmdvis.datasets import VIPSegDataset
from mmdvis.datasets.transforms.clip_io import read_id_map
from mmdvis.datasets.vipseg import contiguous_labels
from mmdvis.registry import DATASETS


def build(root, split='train', **options):
    return DATASETS.build(dict(
        type='VIPSegDataset', data_root=str(root), ann_file=f'panoptic_gt_VIPSeg_{split}.json',
        data_prefix=dict(img='images', seg='panomasksRGB'), **options))


def test_labels_put_things_first():
    categories = [dict(id=i, isthing=t) for i, t in ((3, 1), (0, 0), (7, 0), (2, 1))]
    assert contiguous_labels(categories) == {2: 0, 3: 1, 0: 2, 7: 3}


def test_meta_information(toy_root):
    meta = build(toy_root).metainfo
    assert meta['num_things'] == 6 and len(meta['classes']) == 11
    assert meta['classes'][0] == 'disc' and meta['category_ids'] == tuple(range(11))


def test_a_training_sample(toy_root):
    np.random.seed(0)
    dataset = build(toy_root, clip=dict(num_frames=3), augment=dict(flip=0.))
    assert len(dataset) == 6
    item = dataset[1]
    sample = item['data_samples']
    assert item['inputs'].shape == (3, 3, 64, 96) and item['inputs'].dtype == torch.uint8
    assert sample.gt_id_map.dtype == torch.int32 and sample.gt_id_map.shape == (3, 64, 96)
    first = sample.frame_indices[0]
    on_disk = read_id_map(toy_root / 'panomasksRGB' / 'train_0001' / f'{first:08d}.png')
    assert np.array_equal(sample.gt_id_map[0].numpy(), on_disk)
    content = json.loads((toy_root / 'panoptic_gt_VIPSeg_train.json').read_text())
    listed = {s['id']: s['category_id'] for f in sample.frame_indices
              for s in content['annotations'][1]['annotations'][f]['segments_info']}
    assert dict(zip(sample.gt_ids.tolist(), sample.gt_labels.tolist())) == listed
    assert (sample.gt_ids >= 1).all()


def test_a_test_sample_decodes_nothing(toy_root):
    item = build(toy_root, 'val', test_mode=True, test=dict(short_edge=32))[0]
    source, sample = item['inputs'], item['data_samples']
    assert (len(source), source.size, source.original) == (7, (32, 48), (64, 96))
    assert not isinstance(source, torch.Tensor) and source.read(0, 2).shape == (2, 3, 32, 48)
    assert sample.video_id == 'val_0000' and sample.frame_names[1] == '00000001.png'


def test_crop_and_scale_reach_the_pipeline(toy_root):
    dataset = build(toy_root, clip=dict(num_frames=2), augment=dict(short_edges=[80], crop=(50, 60)))
    assert dataset[0]['inputs'].shape == (2, 3, 50, 60)


def write(tmp_path, content):
    (tmp_path / 'panoptic_gt_VIPSeg_train.json').write_text(json.dumps(content))
    return tmp_path


CATEGORIES = [dict(id=4, name='cat', isthing=1, color=[1, 2, 3]), dict(id=9, name='sky', isthing=0, color=[4, 5, 6])]
IMAGES = [dict(id='0', width=8, height=6, file_name='0.jpg')]


def test_crowds_are_no_objects_and_the_first_mention_wins(tmp_path):
    segments = [dict(id=5, category_id=4), dict(id=5, category_id=9), dict(id=6, category_id=4, iscrowd=1)]
    root = write(tmp_path, dict(categories=CATEGORIES, videos=[dict(video_id='v', images=IMAGES)],
                                annotations=[dict(video_id='v', annotations=[dict(file_name='0.png', segments_info=segments)])]))
    assert build(root).get_data_info(0)['frames'][0]['segments'] == {5: 0}


def test_a_split_without_annotations_can_be_tested(tmp_path):
    root = write(tmp_path, dict(categories=CATEGORIES, videos=[dict(video_id='v', images=IMAGES)]))
    record = build(root, test_mode=True).get_data_info(0)
    assert record['frames'][0]['image'].endswith('images/v/0.jpg')
    with pytest.raises(ValueError, match='video v has 1 images and 0 annotations'):
        build(root)


@pytest.mark.parametrize('content, message', [
    (None, 'there is no annotation file'), ('{', 'is no valid json'), ('{"videos": []}', 'lacks categories; it has videos')])
def test_broken_annotation_files(tmp_path, content, message):
    if content is not None:
        (tmp_path / 'panoptic_gt_VIPSeg_train.json').write_text(content)
    with pytest.raises(ValueError, match=message):
        build(tmp_path)


def test_a_missing_frame_is_named(toy_root, tmp_path):
    content = json.loads((toy_root / 'panoptic_gt_VIPSeg_train.json').read_text())
    with pytest.raises(ValueError, match=r'images/train_0000/0000000\d.jpg cannot be read as an image'):
        build(write(tmp_path, content))[0]


def test_a_mask_of_another_size_is_named(toy_root, tmp_path):
    import shutil

    from PIL import Image
    shutil.copytree(toy_root / 'images' / 'train_0000', tmp_path / 'images' / 'train_0000')
    masks = tmp_path / 'panomasksRGB' / 'train_0000'
    masks.mkdir(parents=True)
    for t in range(7):
        Image.new('RGB', (96, 60)).save(masks / f'{t:08d}.png')
    content = json.loads((toy_root / 'panoptic_gt_VIPSeg_train.json').read_text())
    with pytest.raises(ValueError, match=r'is \(64, 96\) .* its mask .* \(60, 96\)'):
        build(write(tmp_path, content))[0]


def test_the_infinite_sampler_can_skip():
    """Resuming continues the same stream of indices without reading the skipped samples."""
    whole, resumed = InfiniteSampler(range(7), seed=3), InfiniteSampler(range(7), seed=3)
    resumed.skip(10)
    first = [index for index, _ in zip(whole, range(25))]
    assert [index for index, _ in zip(resumed, range(15))] == first[10:]


def test_the_dataset_is_registered():
    assert DATASETS.get('VIPSegDataset') is VIPSegDataset
