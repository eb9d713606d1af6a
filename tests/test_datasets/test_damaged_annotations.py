"""Regression tests for faults of the annotation readers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import official_layouts as official
from helpers import tiny_datasets
from helpers.damage import JSON, TRACKS, dataset_config, edit, first_frame
from PIL import Image

from mmdvis.analysis.check_dataset import check_dataset, datasets_in
from mmdvis.datasets import classes as class_lists
from mmdvis.datasets.converters.json_files import split_train_dev
from mmdvis.datasets.detect_layout import find_datasets
from mmdvis.errors import DataError
from mmdvis.io import natural_key, read_image
from mmdvis.registry import DATASETS


def copy_of(kind, tmp_path):
    tiny_datasets.write(kind, tmp_path)
    return tmp_path


def coco(root, **options):
    return DATASETS.build(
        dict(
            type='CocoInstanceClipDataset',
            data_root=str(root),
            ann_file='annotations/instances_train2017.json',
            data_prefix=dict(img='train2017'),
            clip=dict(num_frames=1),
            augment=dict(flip=0.0),
            **options,
        )
    )


def test_classes_are_never_mapped_twice(tmp_path):
    from mmdvis.datasets.converters.json_files import coco_to_clips

    root = copy_of('coco_instance', tmp_path)
    source = root / 'annotations/instances_train2017.json'
    coco_to_clips(source, root / 'annotations/mapped.json', 'OVIS')
    (root / 'annotations/mapped.json').rename(source)
    with pytest.raises(DataError, match='25 thing .* COCO has 80'):
        coco(root, target='OVIS')
    with pytest.raises(DataError, match='set class_list=None to accept the classes of the file'):
        coco(root)
    assert len(coco(root, class_list='OVIS').metainfo['classes']) == 25


def test_a_crowd_of_one_frame_is_no_object_there(tmp_path):
    root = copy_of('vipseg', tmp_path)
    edit(root / JSON, lambda c: first_frame(c)[0].update(iscrowd=1))
    number = first_frame(json.loads((root / JSON).read_text()))[0]['id']
    for frames in (1, 7):
        np.random.seed(1)
        while True:
            sample = DATASETS.build(dict(dataset_config('vipseg', root), clip=dict(num_frames=frames)))[0][
                'data_samples'
            ]
            if 0 in sample.frame_indices:
                break
        place = sample.frame_indices.index(0)
        index = sample.gt_ids.tolist().index(number) + 1 if number in sample.gt_ids.tolist() else 99
        assert not (sample.gt_index_maps[0, place] == index).any()


def test_an_id_with_two_categories_is_told_every_time(tmp_path, monkeypatch):
    from mmdvis.datasets import annotation_index as record_index

    root = copy_of('vipseg', tmp_path)
    edit(root / JSON, lambda c: first_frame(c, 3)[0].update(category_id=62))
    monkeypatch.setenv('MMDVIS_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(record_index, 'MIN_CACHED_BYTES', 0)
    for _ in range(2):
        with pytest.warns(UserWarning, match='the category of the first occurrence is used'):
            DATASETS.build(dataset_config('vipseg', root))
    problems = check_dataset(dataset_config('vipseg', root)).problems
    assert any('has category 62' in problem.text for problem in problems)


@pytest.mark.parametrize(
    'polygon',
    (
        [[1e9, 0, 5, 5, 0, 9]],
        [[float('nan'), 0, 5, 5, 0, 9]],
        [['a', 0, 5, 5, 0, 9]],
        [[None, 0, 5, 5, 0, 9]],
        [[[1], 0, 5, 5, 0, 9]],
        [[1, 2, 3]],
        [],
    ),
)
def test_polygons_that_are_none(polygon, tmp_path):
    root = copy_of('coco_instance', tmp_path)
    edit(root / 'annotations/instances_train2017.json', lambda c: c['annotations'][0].update(segmentation=polygon))
    with pytest.raises(
        DataError, match='annotation 1 of image 000000000001.jpg: a polygon mask must be lists of at least three'
    ):
        coco(root)


@pytest.mark.parametrize(
    'mask, message',
    [
        (dict(size=5, counts=[1]), 'the mask is 5'),
        (dict(size=[40, 56], counts=[2**70]), 'integers from 0 to the number of pixels'),
        (dict(size=[40, 56], counts=[1.5]), 'integers from 0'),
        (7, "must be null, or have 'size' and 'counts'"),
    ],
)
def test_masks_that_are_none(mask, message, tmp_path):
    root = copy_of('youtube_vis_2021_360p', tmp_path)
    edit(root / TRACKS, lambda c: c['annotations'][0]['segmentations'].__setitem__(0, mask))
    with pytest.raises(DataError, match=message):
        DATASETS.build(dataset_config('youtube_vis_2021_360p', root))


@pytest.mark.parametrize(
    'key, value, message',
    [
        ('height', float('nan'), "'height' must be an integer, got nan"),
        ('height', float('inf'), "'height' must be an integer, got inf"),
        ('iscrowd', '0', "'iscrowd' must be 0 or 1, got '0'"),
    ],
)
def test_values_that_are_none(key, value, message, tmp_path):
    root = copy_of('youtube_vis_2021_360p', tmp_path)
    part = 'annotations' if key == 'iscrowd' else 'videos'
    edit(root / TRACKS, lambda c: c[part][0].update({key: value}))
    with pytest.raises(DataError, match=message):
        DATASETS.build(dataset_config('youtube_vis_2021_360p', root))


def test_large_categories_and_strange_colours(tmp_path):
    root = copy_of('vipseg', tmp_path)

    def change(content):
        content['categories'][0].update(id=2**40, color='#ff0000')
        content['categories'][1]['color'] = 5

    edit(root / JSON, change)
    meta = DATASETS.build(dict(dataset_config('vipseg', root), class_list=None)).metainfo
    assert max(meta['category_ids']) == 2**40 and all(len(colour) == 3 for colour in meta['palette'])
    assert natural_key('a2\u00b3.png') and natural_key('9.png') < natural_key('10.png')


def test_frames_of_a_video_stand_together(tmp_path):
    official.viper(tmp_path, class_lists.VIPER.split())
    path = tmp_path / 'viper_panoptic_train_video.json'
    edit(path, lambda c: c.update(images=c['images'][:8] + c['images'][16:24] + c['images'][8:16] + c['images'][24:]))
    with pytest.raises(DataError, match=r'the video \(its frames must be contiguous\) 001 occurs more than once'):
        DATASETS.build(find_datasets(tmp_path)[0])


def test_annotated_frames_of_another_split(tmp_path):
    root = copy_of('cityscapes_vps', tmp_path)
    config = dict(tiny_datasets.config('cityscapes_vps', root).test_dataloader.dataset)
    with pytest.raises(DataError, match='panoptic_im_test_city_vps.json lists the frame .* use the same split'):
        DATASETS.build(dict(config, annotated='panoptic_im_test_city_vps.json'))
    edit(root / 'panoptic_im_val_city_vps.json', lambda c: c.update(images=c['images'][:6]))
    with pytest.raises(DataError, match='lists no frame of video 1 of .*; each video must have an annotated frame'):
        DATASETS.build(config)


def test_images_beside_folders_and_two_videos_of_one_name(tmp_path):
    official.folders(tmp_path)
    Image.new('RGB', (4, 4)).save(tmp_path / 'preview.png')
    with pytest.raises(DataError, match=r'contains both images \(preview.png, ...\) and videos \(a, ...\)'):
        DATASETS.build(dict(type='ImageFolderVideoDataset', data_root=str(tmp_path)))
    (tmp_path / 'preview.png').rename(tmp_path / 'a.mp4')
    with pytest.raises(DataError, match='the video a occurs more than once'):
        DATASETS.build(dict(type='ImageFolderVideoDataset', data_root=str(tmp_path)))


def test_a_broken_video_file_is_reported(tmp_path):
    (tmp_path / 'v').mkdir()
    (tmp_path / 'v' / 'broken.mp4').write_bytes(b'no video')
    config = dict(type='ImageFolderVideoDataset', data_root=str(tmp_path / 'v'))
    report = check_dataset(config)
    assert [problem.kind for problem in report.problems] == ['unreadable'] and 'broken.mp4' in report.problems[0].text
    with pytest.raises(DataError, match='no video that can be used'):
        DATASETS.build(dict(config, on_error='skip'))


def test_a_frame_of_another_size_never_wins(tmp_path):
    root = copy_of('vspw_720p', tmp_path)
    path = root / 'data/0_val/origin/00000010.jpg'
    Image.open(path).resize((9, 7)).save(path)
    config = dict(tiny_datasets.config('vspw_720p', root).val_dataloader.dataset, test=dict())
    source = DATASETS.build(dict(config, on_error='repeat'))[0]['inputs']
    assert source.size == (40, 56) and len(source.read(0, 7)) == 7 and list(source.problems) == [0]
    for part in ('origin/00000010.jpg', 'mask/00000010.png'):
        path = root / 'data/0_train' / part
        Image.open(path).resize((9, 7), 0).save(path)
    item = DATASETS.build(dict(dataset_config('vspw_720p', root), on_error='repeat'))[0]
    assert item['inputs'].shape[-2:] == (40, 56) and item['data_samples'].frame_indices[0] == 1


def test_a_single_frame_is_replaced_from_the_rest_of_the_video(tmp_path):
    root = copy_of('vipseg', tmp_path)
    for stem in ('00000010', '00000020', '00000030'):
        (root / f'images/0_train/{stem}.jpg').write_bytes(b'')
    dataset = DATASETS.build(dict(dataset_config('vipseg', root), on_error='repeat', clip=dict(num_frames=1)))
    for seed in range(8):
        np.random.seed(seed)
        assert dataset[0]['data_samples'].frame_indices[0] in (1, 3, 5, 6)


def test_videos_whose_json_is_wrong_are_left_out_before_the_test(tmp_path):
    root = copy_of('vipseg', tmp_path)
    edit(root / JSON, lambda c: [image.update(width=57) for image in c['videos'][0]['images']] and None)
    config = dict(dataset_config('vipseg', root), test_mode=True, on_error='skip', clip=None, augment=None)
    dataset = DATASETS.build(config)
    assert list(dataset.left_out) == ['0_train'] and dataset.metainfo['left_out'] == ('0_train',)


def test_a_submission_without_the_left_out_is_refused(tmp_path):
    from mmdvis.registry import METRICS

    writer = METRICS.build(dict(type='SubmissionWriter', out_dir=str(tmp_path / 'out')))
    writer.dataset_meta = dict(left_out=('v',))
    with pytest.raises(
        ValueError, match=r'1 videos were left out because of bad frames \(v\), but a submission needs all'
    ):
        writer.compute_metrics([('w', [])])


def test_shapes_of_videos_whose_first_frame_is_bad(tmp_path):
    from mmdvis.datasets.samplers import ClipSampler

    root = copy_of('vspw_720p', tmp_path)
    (root / 'data/0_train/origin/00000010.jpg').write_bytes(b'')
    config = dataset_config('vspw_720p', root)
    assert DATASETS.build(dict(config, on_error='skip')).video_sizes().tolist() == [[40, 56], [40, 56]]
    ClipSampler(DATASETS.build(dict(config, on_error='skip')), by_shape=True)
    with pytest.raises(DataError, match='it is empty'):
        ClipSampler(DATASETS.build(config), by_shape=True)


@pytest.mark.skipif(os.getuid() != 0, reason='only root can switch to another user')
def test_files_that_another_user_may_not_read(tmp_path):
    """Root may read every file, so a subprocess switches to the user nobody first."""
    closed = ('images/0_train', '.', 'panomasksRGB', JSON)
    roots = [str(copy_of('vipseg', tmp_path / str(k))) for k in range(len(closed))]
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.getuid() and str(path).startswith('/tmp/'):
            path.chmod(path.stat().st_mode | 0o055)
    for root, name in zip(roots, closed):
        (Path(root) / name).chmod(0)
    script = f"""
import os, sys
from mmdvis.registry import DATASETS
from mmdvis.analysis.check_dataset import check_dataset
from mmdvis.errors import DataError
import mmdvis.datasets, PIL.PngImagePlugin, PIL.JpegImagePlugin
os.setuid(65534)
for root in {roots!r}:
    config = dict(type='VIPSegDataset', data_root=root, ann_file={JSON!r},
                  data_prefix=dict(img='images', seg='panomasksRGB'), clip=dict(num_frames=7))
    try:
        DATASETS.build(config)[0]
        print('read', root)
    except DataError as error:
        print('error', len(check_dataset(config).problems) > 0)
"""
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ['error True'] * len(closed)


def test_a_header_that_claims_too_much(tmp_path):
    data = bytearray()
    Image.new('RGB', (4, 4)).save(tmp_path / 'x.bmp')
    data = bytearray((tmp_path / 'x.bmp').read_bytes())
    data[18:26] = (60000).to_bytes(4, 'little') * 2
    (tmp_path / 'x.bmp').write_bytes(data)
    with pytest.raises(DataError, match='x.bmp cannot be read as an image'):
        read_image(tmp_path / 'x.bmp')


def test_local_splits_are_found_and_whole(tmp_path):
    for kind, json_name in (
        ('ovis_360p', 'annotations/annotations_train.json'),
        ('youtube_vis_2021_360p', 'train.json'),
    ):
        root = copy_of(kind, tmp_path / kind)
        split_train_dev(root / json_name, 0.5 if kind == 'ovis_360p' else 0.6)
        splits = [
            config for config in find_datasets(root) if '_sub' in config['ann_file'] or '_dev' in config['ann_file']
        ]
        assert len(splits) == 2 and not any(check_dataset(config).problems for config in splits)


def test_wrappers_are_looked_into(tmp_path):
    dataset = dict(type='VIPSegDataset')
    assert datasets_in(dict(type='RepeatDataset', dataset=dataset, times=3)) == [dataset]
    assert datasets_in(dict(type='ConcatDataset', datasets=[dataset, dict(type='RepeatDataset', dataset=dataset)])) == [
        dataset,
        dataset,
    ]


def test_a_fault_does_not_hide_another(tmp_path):
    root = copy_of('youtube_vis_2021_360p', tmp_path)

    def change(content):
        content['videos'][0]['length'] = 9
        content['categories'][0]['name'], content['categories'][1]['name'] = 'bear', 'airplane'

    edit(root / TRACKS, change)
    texts = [problem.text for problem in check_dataset(dataset_config('youtube_vis_2021_360p', root)).problems]
    assert len(texts) == 2 and 'has the length 9' in texts[0] and 'labels would change' in texts[1]


def test_parts_of_a_dataset(tmp_path):
    dataset = DATASETS.build(dataset_config('vipseg', copy_of('vipseg', tmp_path)))
    assert len(dataset.get_subset([1])) == 1 and len(dataset) == 2
    with pytest.raises(IndexError, match='indices must lie below 2, the number of videos, got 99'):
        dataset.get_subset([0, 99])


def test_the_check_hands_no_data_over_with_a_video(tmp_path, monkeypatch):
    """Forked processes inherit the dataset, so its index is never pickled."""
    from mmdvis.datasets.annotation_index import AnnotationIndex

    def refuse(index):
        raise AssertionError('the index was pickled')

    monkeypatch.setattr(AnnotationIndex, '__reduce__', refuse)
    report = check_dataset(dataset_config('vipseg', copy_of('vipseg', tmp_path)), workers=2)
    assert not report.problems and report.videos == 2


@pytest.mark.parametrize('kind', ('vipseg', 'coco_panoptic', 'coco_instance', 'ovis_360p'))
@pytest.mark.parametrize('height', (0, -40, 1 << 70))
def test_sizes_that_no_image_has(kind, height, tmp_path):
    tiny_datasets.write(kind, tmp_path)
    settings = dict(tiny_datasets.config(kind, tmp_path).train_dataloader.dataset)
    (path,) = tmp_path.rglob(Path(settings['ann_file']).name)
    content = json.loads(path.read_text())
    first = content['videos'][0] if 'videos' in content else content['images'][0]
    (first['images'][0] if 'images' in first else first).update(height=height)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf"'height' and 'width' must lie between 1 and 1048576, got {height} and 56"):
        DATASETS.build(settings)
