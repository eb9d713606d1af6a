"""Dataset converters: tiny raw releases are converted, then loaded and checked."""

import json
import shutil
import sys

import numpy as np
import pytest
from helpers import official_layouts as official
from helpers import tiny_datasets
from helpers.commands import load
from PIL import Image

from mmdvis.analysis.check_dataset import check_dataset
from mmdvis.datasets import classes as class_lists
from mmdvis.datasets.converters import cityscapes_vps as city
from mmdvis.datasets.converters import frames as writing
from mmdvis.datasets.converters import viper, vipseg
from mmdvis.datasets.converters.json_files import coco_to_clips, is_dev, split_train_dev
from mmdvis.datasets.converters.viper import prepare_viper
from mmdvis.datasets.converters.vipseg import prepare_vipseg
from mmdvis.datasets.converters.vspw import prepare_vspw
from mmdvis.datasets.detect_layout import find_datasets
from mmdvis.errors import DataError
from mmdvis.registry import DATASETS

# persons 1 and 2, car 3, sky, grass; raw categories start at 1
RAW = np.array([0, 6101, 6102, 4903, 29, 16], np.uint16)


def raw_vipseg(root):
    for split, number in dict(train=2, val=1, test=1).items():
        for k in range(number):
            images, maps = official.scene(k + len(split), frames=3)
            for t in range(3):
                official.save(root / 'imgs' / f'{k}_{split}' / f'{t:05d}.jpg', images[t])
                if split != 'test':
                    official.save(root / 'panomasks' / f'{k}_{split}' / f'{t:05d}.png', RAW[maps[t]])
        (root / f'{split}.txt').write_text(''.join(f'{k}_{split}\n' for k in range(number)))
    return root


def digest(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob('*')) if path.is_file()}


def problems(folder):
    return [problem.text for config in find_datasets(folder) for problem in check_dataset(config).problems]


def test_vipseg_from_raw_to_targets(tmp_path):
    raw, out = raw_vipseg(tmp_path / 'raw'), tmp_path / 'out'
    written = prepare_vipseg(raw, out, height=20, workers=2)
    assert written.pop('errata') == [] and set(written) == {'train', 'val', 'test'} and problems(out) == []
    dataset = DATASETS.build(
        dict(
            type='VIPSegDataset',
            data_root=str(out),
            ann_file='panoptic_gt_VIPSeg_train.json',
            clip=dict(num_frames=3),
            augment=dict(flip=0.0),
            data_prefix=dict(img='images', seg='panomasksRGB'),
        )
    )
    sample = dataset[0]
    names = [dataset.metainfo['classes'][label] for label in sample['data_samples'].gt_labels]
    assert sorted(names) == ['car', 'grass', 'person', 'person', 'sky']
    _, maps = official.scene(5, frames=3)
    small = np.stack([np.asarray(Image.fromarray(m).resize((28, 20), Image.NEAREST)) for m in maps])
    for region, ids in enumerate((6101, 6102, 4903, 29, 16), 1):
        index = sample['data_samples'].gt_ids.tolist().index(ids) + 1
        assert np.array_equal(sample['data_samples'].gt_index_maps[0].numpy() == index, small == region)
    test = json.loads((out / 'panoptic_gt_VIPSeg_test.json').read_text())
    assert 'annotations' not in test and test['videos'][0]['images'][0]['file_name'] == '00000.jpg'


def test_a_second_run_goes_on_and_mends(tmp_path):
    raw, out = raw_vipseg(tmp_path / 'raw'), tmp_path / 'out'
    prepare_vipseg(raw, out, height=20, workers=1)
    before = digest(out)
    (out / 'images/0_train/00001.jpg').unlink()
    (out / 'images/1_train/00001.jpg').write_bytes(b'half')
    (out / 'panomasksRGB/0_val/00002.png').write_bytes(before['panomasksRGB/0_val/00002.png'][:40])
    kept = (out / 'images/0_train/00000.jpg').stat().st_mtime_ns
    prepare_vipseg(raw, out, height=20, workers=2)
    assert digest(out) == before and (out / 'images/0_train/00000.jpg').stat().st_mtime_ns == kept


def test_nothing_half_done_gets_a_json(tmp_path):
    raw, out = raw_vipseg(tmp_path / 'raw'), tmp_path / 'out'
    (raw / 'imgs/0_train/00001.jpg').write_bytes(b'')
    with pytest.raises(
        DataError, match=r'1 of 2 could not be converted(.|\n)*0_train/00001.jpg cannot be read .* it is empty'
    ):
        prepare_vipseg(raw, out, height=20)
    assert not list(out.glob('*.json')) and (out / 'images/1_train/00002.jpg').is_file()  # the other one is converted
    (raw / 'panomasks/1_train/00000.png').unlink()
    with pytest.raises(
        DataError, match='video 1_train, frame 00000: the image or the mask is missing; frames affected: 1'
    ):
        prepare_vipseg(raw, out, height=20)


def test_a_full_disk_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(
        writing, 'save_image', lambda image, path, **options: path.parent.mkdir(parents=True, exist_ok=True)
    )
    with pytest.raises(DataError, match='was not written correctly; is the disk full'):
        prepare_vipseg(raw_vipseg(tmp_path / 'raw'), tmp_path / 'out', height=20, workers=1)


def test_errata_are_applied_and_told(tmp_path, monkeypatch):
    raw = raw_vipseg(tmp_path / 'raw')
    path = raw / 'panomasks/0_train/00001.png'
    values = np.asarray(Image.open(path)).astype(np.uint16)
    values[:2, :2], values[5:8, 0] = 200, 300
    Image.fromarray(values).save(path)
    with pytest.raises(DataError, match="00001.png has the value 1601, an instance of 'grass', which is stuff"):
        prepare_vipseg(raw, tmp_path / 'out', height=40, errata={'0_train': {300: 1601}})
    written = prepare_vipseg(raw, tmp_path / 'out', height=40, workers=1, errata={'0_train': {300: 0}})
    assert len(written['errata']) == 2 and '4 pixels with value 200 were set to 0' in written['errata'][0]
    assert '3 pixels with value 300 were set to 0' in written['errata'][1] and vipseg.ERRATA[''] == {200: 0}
    monkeypatch.setattr(
        sys,
        'argv',
        [
            'vipseg',
            str(raw),
            str(tmp_path / 'out'),
            '--height',
            '40',
            '--errata',
            str(official.save_json(tmp_path / 'e.json', {'0_train': {'300': 0}})),
        ],
    )
    load('tools/dataset_converters/vipseg.py').main()


def test_a_split_has_masks_of_all_videos_or_of_none(tmp_path):
    raw = raw_vipseg(tmp_path / 'raw')
    shutil.rmtree(raw / 'panomasks/0_train')
    with pytest.raises(DataError, match=r'split train: 1 of 2 videos have no mask \(0_train\)'):
        prepare_vipseg(raw, tmp_path / 'out', height=20)
    assert not (tmp_path / 'out/panoptic_gt_VIPSeg_train.json').exists()


def test_a_test_split_as_it_is_released_is_left_alone(tmp_path, monkeypatch, capsys):
    root = raw_cityscapes(tmp_path)
    before = (root / 'im_all_info_test_city_vps.json').read_bytes()
    monkeypatch.setattr(sys, 'argv', ['tool', str(root), '--workers', '1'])
    load('tools/dataset_converters/cityscapes_vps.py').main()
    assert 'test: skipped, because' in capsys.readouterr().out
    assert (root / 'im_all_info_test_city_vps.json').read_bytes() == before


def test_two_processes_may_write_one_json(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    from mmdvis.io import write_json

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda k: write_json(tmp_path / 'x.json', [k] * 2000), range(40)))
    assert len(set(json.loads((tmp_path / 'x.json').read_text()))) == 1 and len(list(tmp_path.iterdir())) == 1


def test_values_of_no_category_are_named(tmp_path):
    raw = raw_vipseg(tmp_path / 'raw')
    path = raw / 'panomasks/0_train/00001.png'
    Image.fromarray(np.full((40, 56), 12601, np.uint16)).save(path)
    with pytest.raises(DataError, match='00001.png has the value 12601, which belongs to no category'):
        prepare_vipseg(raw, tmp_path / 'out', height=20)
    with pytest.raises(DataError, match='holds none of train.txt, val.txt, test.txt'):
        prepare_vipseg(tmp_path / 'nowhere', tmp_path / 'out')


def test_vspw_keeps_its_classes(tmp_path):
    official.vspw(tmp_path / 'raw')
    assert prepare_vspw(tmp_path / 'raw', tmp_path / 'out', height=20) == dict(train=14, val=7, test=7)
    assert problems(tmp_path / 'out') == []
    for kind, how in (('mask', Image.NEAREST), ('origin', Image.BILINEAR)):
        source = Image.open(next((tmp_path / 'raw/data/0_val' / kind).glob('00000010.*')))
        converted = Image.open(next((tmp_path / 'out/data/0_val' / kind).glob('00000010.*')))
        difference = np.abs(np.asarray(source.resize((28, 20), how)).astype(int) - np.asarray(converted).astype(int))
        assert difference.max() == 0 if kind == 'mask' else difference.mean() < 8  # tolerance for JPEG compression


def raw_cityscapes(root):
    """Write class and instance images, the input of the converter."""
    official.cityscapes_vps(root, class_lists.CITYSCAPES.split())
    for split, first, number in (('train', 1, 2), ('val', 3, 2)):
        for video in range(first, first + number):
            _, maps = official.scene(70 + video, frames=30)
            for path in sorted((root / split / 'panoptic_inst').glob(f'{video:04d}_*.png')):
                t = int(path.name.split('_')[4])
                classes = np.array([255, 13, 11, 18, 10, 0])[maps[t]]
                colours = np.array([*city.CITYSCAPES_PALETTE, *[(0, 0, 0)] * 237], np.uint8)[classes]
                instances = np.array([7, 26001, 24000, 33002, 23, 7], np.uint16)[maps[t]]
                official.save(root / split / 'cls' / path.name, colours)
                official.save(root / split / 'inst' / path.name, instances)
    return root


def test_cityscapes_maps_and_jsons_come_back(tmp_path):
    """Maps and jsons converted from class and instance images equal those of the official layout."""
    root = raw_cityscapes(tmp_path / 'data')
    shutil.copytree(root, tmp_path / 'expected')
    for path in (*root.glob('*.json'),):
        path.unlink()
    for split in ('train', 'val'):
        shutil.rmtree(root / split / 'panoptic_inst')
    shutil.rmtree(root / 'val/panoptic_video')
    shutil.copytree(root / 'val/img_all', tmp_path / 'sequence' / 'city')
    (root / 'val/img_all/city_000003_000002_leftImg8bit.png').unlink()
    for split in ('train', 'val', 'test'):
        (root / split / 'img').mkdir(exist_ok=True)
    for path in (tmp_path / 'expected/test/img_all').glob('*'):
        t = int(path.name.split('_')[2])
        if t % 5 == 4:
            shutil.copy(path, root / 'test/img' / f'0005_{25 + t // 5:04d}_{path.name}')
    for split in ('train', 'val', 'test'):
        city.prepare_split(root, split, tmp_path / 'sequence')
    assert problems(root) == []
    for split in ('train', 'val'):
        for path in (tmp_path / 'expected' / split / 'panoptic_inst').glob('*.png'):
            converted = Image.open(root / split / 'panoptic_inst' / path.name)
            assert np.array_equal(np.asarray(Image.open(path)), np.asarray(converted))
    for name in ('im_all_info_val', 'im_all_info_test'):
        expected, converted = (
            json.loads((folder / f'{name}_city_vps.json').read_text()) for folder in (tmp_path / 'expected', root)
        )
        assert converted['images'] == expected['images']
    gt = json.loads((root / 'panoptic_gt_val_city_vps.json').read_text())
    assert [image['id'] for image in gt['images']] == [
        image['id'] for image in json.loads((tmp_path / 'expected/panoptic_im_val_city_vps.json').read_text())['images']
    ]
    (root / 'val/img_all/city_000003_000002_leftImg8bit.png').unlink()
    with pytest.raises(DataError, match='city_000003_000002_leftImg8bit.png is missing; set --sequence to the folder'):
        city.prepare_split(root, 'val')
    next((root / 'val/img').glob('0003_*')).unlink()
    with pytest.raises(DataError, match='video 0003 has 5 annotated frames; Cityscapes-VPS has 6'):
        city.prepare_split(root, 'val')


def test_the_palette_of_cityscapes_is_as_mmseg_has_it():
    from mmseg.datasets import CityscapesDataset

    assert [tuple(colour) for colour in CityscapesDataset.METAINFO['palette']] == list(city.CITYSCAPES_PALETTE)


def test_an_instance_has_the_class_of_most_of_its_pixels():
    labels = np.array([[13, 13, 11, 0, 255, 255]], np.uint8)
    instances = np.array([[26004, 26004, 26004, 7, 24001, 0]])
    assert city.panoptic_values(labels, instances).tolist() == [[13004, 13004, 13004, 0, 255, 255]]
    # no instance id
    assert city.panoptic_values(np.array([[13, 11]], np.uint8), np.array([[26, 0]])).tolist() == [[255, 255]]


@pytest.mark.parametrize('coding', viper.CODINGS)
def test_viper_in_every_coding(coding, tmp_path):
    _, maps = official.scene(3, frames=16)
    classes = np.array([255, 19, 19, 17, 0, 1])
    numbers = np.array([0, 5, 300, 5, 0, 0])
    for t in range(16):
        stem, shape = f'001_{t + 1:05d}', maps[t].shape
        colours = np.array([*viper.VIPER_PALETTE, *[(1, 2, 3)] * 233], np.uint8)[classes[maps[t]]]
        number = numbers[maps[t]]
        high, low, kind = number // 256, number % 256, classes[maps[t]] % 256
        distinct = maps[t] * (maps[t] <= 3)
        codes = {'rgb': (distinct, 0 * kind, 0 * kind), 'class-gb': (kind, high, low), 'class-rg': (high, low, kind)}[
            coding
        ]
        for folder, pixels in (('cls', colours), ('inst', np.stack(codes, -1).astype(np.uint8))):
            official.save(tmp_path / 'raw/train' / folder / '001' / f'{stem}.png', pixels)
        official.save(tmp_path / 'raw/train/img/001' / f'{stem}.jpg', np.zeros((*shape, 3), np.uint8))
    prepare_viper(tmp_path / 'raw', tmp_path / 'out', 'train', coding)
    assert problems(tmp_path / 'out') == []
    dataset = DATASETS.build(dict(find_datasets(tmp_path / 'out')[0], clip=dict(num_frames=16), augment=dict(flip=0.0)))
    sample = dataset[0]['data_samples']
    assert sorted(dataset.metainfo['classes'][label] for label in sample.gt_labels) == [
        'car',
        'car',
        'person',
        'road',
        'sky',
    ]
    regions = {(maps[:] == region).tobytes() for region in range(1, 6)}
    assert {(sample.gt_index_maps[0] == k).numpy().tobytes() for k in range(1, 6)} == regions
    path = prepare_viper(tmp_path / 'raw', tmp_path / 'cut', 'train', coding, first=6, videos=['001'])
    whole, cut = (json.loads((tmp_path / name / path.name).read_text()) for name in ('out', 'cut'))
    assert len(whole['videos'][0]['images']) == 16 and len(cut['videos'][0]['images']) == 6
    assert cut['annotations'][0]['annotations'] == whole['annotations'][0]['annotations'][:6]
    assert len(list((tmp_path / 'cut').rglob('*.png'))) == 6
    with pytest.raises(DataError, match=r'has no video 002; it has 001'):
        prepare_viper(tmp_path / 'raw', tmp_path / 'cut', 'train', coding, videos=['001', '002'])
    with pytest.raises(DataError, match='--first must be at least 1, got 0'):
        prepare_viper(tmp_path / 'raw', tmp_path / 'cut', 'train', coding, first=0)


def test_coco_with_the_classes_of_ovis(tmp_path):
    tiny_datasets.write('coco_instance', tmp_path)
    source = tmp_path / 'annotations/instances_train2017.json'
    counts = coco_to_clips(source, tmp_path / 'annotations/coco2ovis_train.json', 'OVIS')
    assert counts == dict(images=3, objects=12, images_with=3)  # categories 1, 3 and 6, and the crowd
    common = dict(
        type='CocoInstanceClipDataset',
        data_root=str(tmp_path),
        data_prefix=dict(img='train2017'),
        clip=dict(num_frames=2),
        augment=dict(flip=0.0),
    )
    own = dict(common, ann_file='annotations/coco2ovis_train.json')
    with pytest.raises(DataError, match='COCO'):  # it has other classes than COCO
        DATASETS.build(own)
    converted = DATASETS.build(dict(own, class_list='OVIS'))
    mapped = DATASETS.build(dict(common, ann_file='annotations/instances_train2017.json', target='OVIS'))
    assert converted.metainfo['classes'] == mapped.metainfo['classes'] and len(converted.metainfo['classes']) == 25
    for k in range(3):
        a, b = converted[k]['data_samples'], mapped[k]['data_samples']
        assert a.gt_labels.tolist() == b.gt_labels.tolist() and (a.gt_index_maps == b.gt_index_maps).all()
    with pytest.raises(DataError, match='has 25 thing .* COCO has 80'):
        coco_to_clips(tmp_path / 'annotations/coco2ovis_train.json', tmp_path / 'x.json', 'YouTubeVIS2019')


def test_the_local_split_depends_on_names_only(tmp_path):
    videos = [dict(id=k, file_names=[f'folder{k}/0.jpg'], height=4, width=4, length=1) for k in range(1, 201)]
    content = dict(
        videos=videos, categories=[dict(id=1, name='x')], annotations=[dict(id=k, video_id=k) for k in range(1, 201)]
    )
    first = official.save_json(tmp_path / 'train.json', content)
    splits = split_train_dev(first)
    dev = json.loads(splits['dev'][0].read_text())
    assert 8 <= splits['dev'][1] <= 35 and splits['dev'][1] + splits['sub'][1] == 200
    assert {a['video_id'] for a in dev['annotations']} == {v['id'] for v in dev['videos']}
    second = official.save_json(tmp_path / 'other.json', dict(content, videos=videos[::-1]))
    assert split_train_dev(second)['dev'][2] == splits['dev'][2]
    assert is_dev('folder', 0.999999) and not is_dev('folder', 1e-9)
    assert splits['dev'][2] == '49b636840c3df0f0'  # the split must never change
    with pytest.raises(DataError, match="the split 'dev' would be empty"):
        split_train_dev(first, 1e-9)
    with pytest.raises(DataError, match='share must lie between 0 and 1'):
        split_train_dev(first, 1.0)
    with pytest.raises(DataError, match='holds no annotations'):
        split_train_dev(official.save_json(tmp_path / 'valid.json', dict(content, annotations=[])))


@pytest.mark.parametrize('name', ('vipseg', 'vspw', 'cityscapes_vps', 'viper', 'coco_to_clips', 'split_train_dev'))
def test_the_tools_say_what_they_want(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [name, '--help'])
    with pytest.raises(SystemExit):
        load(f'tools/dataset_converters/{name}.py').main()
    assert 'usage' in capsys.readouterr().out


def test_the_tools_end_with_a_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['vipseg', str(tmp_path), str(tmp_path / 'out')])
    with pytest.raises(SystemExit, match='error: .* holds none of train.txt'):
        load('tools/dataset_converters/vipseg.py').main()
    raw = raw_vipseg(tmp_path / 'raw')
    monkeypatch.setattr(sys, 'argv', ['vipseg', str(raw), str(tmp_path / 'out'), '--height', '20'])
    load('tools/dataset_converters/vipseg.py').main()
    assert 'train: ' in capsys.readouterr().out
    official.vspw(tmp_path / 'vspw')
    monkeypatch.setattr(sys, 'argv', ['vspw', str(tmp_path / 'vspw'), str(tmp_path / 'small'), '--height', '20'])
    load('tools/dataset_converters/vspw.py').main()
    assert 'test: 7 frames' in capsys.readouterr().out
