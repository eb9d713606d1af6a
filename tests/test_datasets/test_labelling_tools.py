"""Videos of labelling tools: written as each tool writes them, converted, and read by the datasets."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.labelled_videos import (
    FRAMES,
    NAMES,
    ONE_VIDEO,
    SIZE,
    SOURCES,
    picture,
    read_source,
    truth,
    write_cvat,
    write_labelme,
    write_masks,
    write_mots,
    write_source,
)
from PIL import Image
from pycocotools import mask as coco_mask

from mmdvis.cli.convert_labels import main
from mmdvis.datasets import VIPSegDataset, VSPWDataset, YouTubeVISDataset
from mmdvis.datasets.converters.labels import READERS, WRITERS, write_videos
from mmdvis.datasets.converters.labels.writers import classes_of_labels, split_videos
from mmdvis.errors import DataError


@pytest.mark.parametrize('kind', SOURCES)
def test_every_pixel_id_and_class_is_read(kind, tmp_path):
    (video,) = read_source(kind, tmp_path)
    assert (video.name, video.size, len(video.images)) == ('v1', SIZE, FRAMES)
    names = NAMES.get(kind, dict(cat='cat', grass='grass'))
    found = sorted((item.label, sorted(item.masks)) for item in video.objects)
    assert found == sorted([(names['cat'], [0, 1, 2]), (names['cat'], [0, 2]), (names['grass'], [0, 1, 2])])
    for t in range(FRAMES):
        expected = {(names[label], mask.tobytes()) for (label, _), mask in truth(t).items() if mask.any()}
        masks = {(o.label, coco_mask.decode(o.masks[t]).astype(bool).tobytes()) for o in video.objects if t in o.masks}
        assert masks == expected


@pytest.mark.parametrize('kind', SOURCES)
@pytest.mark.parametrize('layout', WRITERS)
def test_converted_videos_are_read_by_the_datasets(kind, layout, tmp_path, capsys):
    source = write_source(kind, tmp_path / 'source')
    names = NAMES.get(kind, dict(cat='cat', grass='grass'))
    stuff = [] if kind == 'masks' else ['--stuff', names['grass']]
    assert (
        main([str(source), str(tmp_path / 'out'), '--from', SOURCES[kind][0], '--to', layout, '--val', '0', *stuff])
        == 0
    )
    assert 'videos: 1, frames: 3, objects: 3' in capsys.readouterr().out
    root, clip = str(tmp_path / 'out'), dict(num_frames=FRAMES)
    if layout == 'vipseg':
        prefix = dict(img='images', seg='panomasksRGB')
        dataset = VIPSegDataset(
            class_list=None, data_root=root, ann_file='panoptic_gt_VIPSeg_train.json', data_prefix=prefix, clip=clip
        )
    elif layout == 'ytvis':
        prefix = dict(img='train/JPEGImages')
        dataset = YouTubeVISDataset(
            class_list=None, data_root=root, ann_file='train.json', data_prefix=prefix, clip=clip
        )
    else:
        dataset = VSPWDataset(categories='categories.json', data_root=root, ann_file='train.txt', clip=clip)
    sample = dataset[0]['data_samples']
    things = set(dataset.metainfo['classes'])
    assert things >= {names['cat']} and sample.gt_index_maps.shape[-2:] == SIZE
    areas = sorted(int((sample.gt_index_maps == k + 1).sum()) for k in range(len(sample.gt_ids)))
    sums = {key: sum(int(truth(t)[key].sum()) for t in range(FRAMES)) for key in truth(0)}
    if layout == 'vspw':  # one region for each class
        cats = sums['cat', 1] + sums['cat', 2]
        sums = dict(all=cats + sums['grass', 3]) if kind == 'masks' else dict(cat=cats, grass=sums['grass', 3])
    assert areas == sorted(sums.values())


def test_splits_depend_on_names_and_both_have_videos(tmp_path):
    for k in range(6):
        write_masks(tmp_path, f'video{k}')
    videos = READERS['masks'](tmp_path)
    splits = split_videos(videos, 0.3)
    assert {name: len(part) > 0 for name, part in splits.items()} == dict(train=True, val=True)
    assert split_videos(videos[::-1], 0.3).keys() == splits.keys()
    assert {v.name for v in split_videos(videos[::-1], 0.3)['val']} == {v.name for v in splits['val']}
    assert list(split_videos(videos, 0.0)) == ['train'] and [
        len(p) for p in split_videos(videos[:2], 0.01).values()
    ] == [1, 1]
    with pytest.raises(DataError, match='no object has the class tree; classes: object'):
        classes_of_labels(videos, ['tree'])


def change_labelme(change):
    def spoil(root):
        file = write_labelme(root) / 'frame1.json'
        content = json.loads(file.read_text())
        change(content)
        file.write_text(json.dumps(content))

    return spoil


def change_cvat(old, new):
    def spoil(root):
        file = write_cvat(root) / 'annotations.xml'
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    return spoil


def change_mots(line):
    return lambda root: (write_mots(root) / 'gt.txt').write_text(line)


def change_json(kind, change):
    """Changes the JSON file of a source; ``change`` gets the content and may return another one."""

    def spoil(root):
        source = write_source(kind, root)
        (file,) = sorted({*source.glob('*.json'), *source.glob('annotations/*.json')})
        content = json.loads(file.read_text())
        file.write_text(json.dumps(change(content) or content))

    return spoil


def json_fault(kind, change, message):
    return kind, change_json(kind, change), message


def change_png(change):
    def spoil(root):
        file = write_source('mots_images', root) / 'v1' / 'instances' / 'frame_000001.png'
        Image.fromarray(change(np.asarray(Image.open(file)))).save(file)

    return spoil


def first_region(kind, **fields):
    """Changes the value of the first region of a kind in an export of Label Studio."""

    def change(tasks):
        region = next(r for r in tasks[0]['annotations'][0]['result'] if r['type'] == kind)
        region['value'].update(fields)

    return change_json('label_studio', change)


def remove(kind, name):
    return lambda root: next((SOURCES[kind][1](root)).rglob(name)).unlink()


def resize(kind, name):
    return lambda root: (lambda path: Image.new('L', (9, 9)).save(path))(next(SOURCES[kind][1](root).rglob(name)))


FAULTS = [
    ('labelme', change_labelme(lambda c: c.update(shapes=3)), 'frame1.json'),
    ('labelme', change_labelme(lambda c: c['shapes'][0].update(label='')), r'json, shape 0: a shape must have a label'),
    ('labelme', change_labelme(lambda c: c['shapes'][0].update(points=[[1, 2], [3, 4]])), '3 points or more, got 2'),
    ('labelme', change_labelme(lambda c: c['shapes'][0].update(points=[[1, 'a']])), 'points must be pairs of numbers'),
    ('labelme', change_labelme(lambda c: c['shapes'][0].update(shape_type='line')), 'shape_type must be .*, got line'),
    ('labelme', change_labelme(lambda c: c['shapes'][1].update(mask='no')), 'its mask is not a base64-encoded PNG'),
    ('labelme', change_labelme(lambda c: c.update(imageHeight=7)), r'states \(7, 60\) .*, but its image is \(40, 60\)'),
    ('labelme', lambda root: (write_labelme(root) / 'frame1.json').write_text('{'), 'frame1.json'),
    ('labelme', remove('labelme', 'frame1.png'), 'frame1.json has no image of the same name'),
    ('labelme', resize('labelme', 'frame1.png'), 'all frames of a video must have the same size'),
    ('cvat', change_cvat('</annotations>', ''), 'annotations.xml is not XML'),
    ('cvat', change_cvat('annotations>', 'other>'), 'is not an export of CVAT for video: its first element is other'),
    ('cvat', change_cvat('label="grass"', 'label=""'), 'track 2 has no label'),
    ('cvat', change_cvat('frame="2"', 'frame="9"'), 'there is no image of frame 9; the video has 3'),
    ('cvat', change_cvat('frame="2"', 'frame="x"'), "frame must be an integer, got 'x'"),
    ('cvat', change_cvat('xtl="40"', 'xtl="a"'), "frame 0: xtl must be a number of pixels, got 'a'"),
    ('cvat', change_cvat('rle="60, ', 'rle="61, '), 'the runs of a mask must add up to its 60 x 11 pixels'),
    ('cvat', change_cvat('top="29"', 'top="39"'), 'is not inside the frame'),
    ('cvat', change_cvat('<box', '<points'), 'shapes of the type points have no area'),
    ('cvat', change_cvat('points="4,5;', 'points="4;'), 'points must be at least three pairs'),
    ('cvat', change_cvat('<version>1.1</version>', '<image id="0"/>'), '"CVAT for images" without groups'),
    ('mots', change_mots('1 2 3'), 'gt.txt, line 1: expected "frame id class height width mask"'),
    ('mots', change_mots('9 1 2 40 60 abc'), 'line 1: there is no image of frame 9'),
    ('mots', change_mots('1 1 2 41 60 abc'), r'line 1: the mask is \(41, 60\) .*, but the frames are \(40, 60\)'),
    ('mots', change_mots('1 1 2 40 60 abc'), 'line 1: the run lengths of the mask'),
    ('mots', remove('mots', 'gt.txt'), 'has gt.txt or gt/gt.txt or instances/.*; check the folder and --from'),
    json_fault('coco', lambda c: c['annotations'][0].update(category_id=9), 'the category 9 is not in'),
    (
        'coco',
        change_json('coco', lambda c: c['annotations'][0].update(segmentation=[[1, 2]])),
        'a polygon mask must be',
    ),
    json_fault('coco', lambda c: c['annotations'][0].update(segmentation=[], bbox=[1]), 'a box must be'),
    (
        'coco',
        change_json('coco', lambda c: c['annotations'][0].update(image_id=77)),
        'belong to the image 77, which is',
    ),
    (
        'coco',
        change_json('coco', lambda c: c['images'][1].update(height=9)),
        r'states \(9, 60\) .*, but .* is \(40, 60\)',
    ),
    json_fault('coco', lambda c: c['images'][1].update(file_name='x.jpg'), 'there is no image x.jpg below'),
    json_fault('coco', lambda c: [a.pop('attributes') for a in c['annotations']] and None, 'has a track_id'),
    json_fault('coco', lambda c: {'images': []}, 'has a json with images and annotations and categories'),
    (
        'coco_video',
        change_json('coco_video', lambda c: c['annotations'][0].update(video_id=3)),
        'belong to the video 3',
    ),
    (
        'coco_video',
        change_json('coco_video', lambda c: c['annotations'][0]['segmentations'].pop() and None),
        'has 2 segmentations',
    ),
    (
        'coco_video',
        change_json('coco_video', lambda c: c['videos'][0].update(file_names=[])),
        'must be at least one name',
    ),
    (
        'datumaro',
        change_json('datumaro', lambda c: c['items'][0]['annotations'][0].update(label_id=5)),
        'below 2, got 5',
    ),
    (
        'datumaro',
        change_json('datumaro', lambda c: c['items'][0]['annotations'][0].update(type='points')),
        'have no area',
    ),
    json_fault('datumaro', lambda c: c['items'][0]['annotations'][1].update(rle=3), 'annotation'),
    json_fault('datumaro', lambda c: c['items'][0].pop('image') and None, "lacks 'image'"),
    (
        'label_studio',
        change_json('label_studio', lambda c: dict(tasks=c)),
        'is not a list of tasks; export the project',
    ),
    json_fault('label_studio', lambda c: c[0].pop('annotations') and None, "lacks 'annotations'"),
    (
        'label_studio',
        change_json('label_studio', lambda c: c[0].update(annotations=2 * c[0]['annotations'])),
        'keep one',
    ),
    json_fault('label_studio', lambda c: c[0].update(data=dict(x=1)), 'has no address of an image'),
    ('label_studio', first_region('brushlabels', rle=[0, 0, 1]), 'the rle of a brush ends too early'),
    ('label_studio', first_region('brushlabels', rle=[0] * 99), 'must have 9600 values, those of 40 x 60 pixels'),
    ('label_studio', first_region('brushlabels', rle=['x']), 'rle must be a list of bytes'),
    ('label_studio', first_region('brushlabels', brushlabels=[]), 'a region must have one label'),
    ('label_studio', first_region('polygonlabels', points=[[1, 'a']]), 'points must be pairs of numbers'),
    ('label_studio', first_region('rectanglelabels', x='1'), 'x, y, width, height and rotation must be numbers'),
    ('mots_images', change_png(lambda p: p[:9]), r'frame_000001.png is \(9, 60\), but its image is \(40, 60\)'),
    ('mots_images', remove('mots_images', 'frame_000001.jpg'), 'frame_000001.png has no image of the same name'),
    ('cvat_images', remove('cvat_images', 'frame_000002.jpg'), 'there is no image frame_000002.jpg in'),
    ('masks', resize('masks', '00001.png'), r'00001.png is \(9, 9\), but its image is \(40, 60\)'),
    ('masks', remove('masks', '00001.jpg'), '00001.png has no image in'),
    ('masks', lambda root: write_labelme(root), 'must have the folders images and masks'),
]


@pytest.mark.parametrize('number', range(len(FAULTS)))
def test_faults_give_one_sentence(number, tmp_path):
    kind, spoil, message = FAULTS[number]
    spoil(tmp_path)
    with pytest.raises(DataError, match=message):
        READERS[SOURCES[kind][0]](tmp_path / 'v1' if kind in ONE_VIDEO else tmp_path)


def test_frames_of_cvat_are_those_of_their_names(tmp_path):
    """A task with a start frame and a step has images frame_000010, frame_000012, ..."""
    folder = write_cvat(tmp_path)
    expected = READERS['cvat'](tmp_path)[0]
    text = (folder / 'annotations.xml').read_text()
    for t in reversed(range(FRAMES)):
        text = text.replace(f'frame="{t}"', f'frame="{10 + 2 * t}"')
        (folder / 'images' / f'frame_{t:06d}.PNG').rename(folder / 'images' / f'frame_{10 + 2 * t:06d}.PNG')
    (folder / 'annotations.xml').write_text(text)
    assert READERS['cvat'](tmp_path)[0].objects == expected.objects


def cvat_of(folder, body):
    write_cvat(folder)
    (folder / 'v1' / 'annotations.xml').write_text(f'<annotations>{body}</annotations>')
    return READERS['cvat'](folder)[0]


def test_rotation_and_order_of_cvat(tmp_path):
    box = 'frame="0" outside="0" xtl="20" ytl="10" xbr="40" ybr="20"'
    turned = cvat_of(tmp_path / 'a', f'<track id="0" label="x"><box {box} rotation="90.0"/></track>').objects[0]
    mask = coco_mask.decode(turned.masks[0]).astype(bool)
    assert mask[5:25, 25:35].all() and mask.sum() == 200
    ellipse = 'frame="0" outside="0" cx="30" cy="15" rx="12" ry="4"'
    upright = cvat_of(tmp_path / 'b', f'<track id="0" label="x"><ellipse {ellipse} rotation="90"/></track>').objects[0]
    rows, columns = np.nonzero(coco_mask.decode(upright.masks[0]))
    assert np.ptp(rows) > 2 * np.ptp(columns)
    tracks = ''.join(
        f'<track id="{k}" label="{name}"><box {box} z_order="{z}"/></track>'
        for k, (name, z) in enumerate([('top', 5), ('low', 1)])
    )
    assert [o.label for o in cvat_of(tmp_path / 'c', tracks).objects] == ['low', 'top']
    groups = ''.join(
        f'<track id="{k}" label="x" group_id="{k % 2}"><mask frame="{k // 2}" outside="0" rle="0, 4" left="1" top="1" '
        'width="2" height="2"/></track>'
        for k in range(4)
    )
    assert [sorted(o.masks) for o in cvat_of(tmp_path / 'd', groups).objects] == [[0, 1], [0, 1]]


@pytest.mark.parametrize('value', ['nan', 'inf', '1e8', '-1e9'])
def test_corners_far_outside_are_refused(tmp_path, value):
    with pytest.raises(DataError, match='must be'):
        cvat_of(tmp_path, f'<track id="0" label="x"><box frame="0" xtl="{value}" ytl="1" xbr="5" ybr="5"/></track>')


@pytest.mark.parametrize('kind', ['labelme', 'cvat', 'mots'])
def test_the_folder_of_a_video_may_be_the_working_folder(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(SOURCES[kind][1](tmp_path))
    assert [video.name for video in READERS[kind](Path('.'))] == ['v1']


def test_names_images_and_classes_that_would_be_lost(tmp_path, monkeypatch):
    folder = write_labelme(tmp_path)
    monkeypatch.chdir(folder)
    (video,) = READERS['labelme'](type(tmp_path)('.'))
    assert video.name == 'v1'
    bad = type(video)('', video.images, video.size, video.objects)
    with pytest.raises(DataError, match="'' cannot be the name of a video"):
        list(write_videos([bad], tmp_path / 'out', 'ytvis', classes_of_labels([bad])))
    assert not (tmp_path / 'out').exists()
    (only,) = split_videos([video], 0.9)
    assert only == 'train' and classes_of_labels([video], ['grass', 'grass']).names == ('cat', 'grass')


def test_regions_of_one_class_are_one_segment(tmp_path):
    shapes = '<track id="{0}" label="grass"><box frame="0" xtl="{0}" ytl="1" xbr="{1}" ybr="9"/></track>'
    video = cvat_of(tmp_path / 'in', shapes.format(1, 5) + shapes.format(20, 30))
    list(write_videos([video], tmp_path / 'out', 'vipseg', classes_of_labels([video], ['grass']), 0.0))
    content = json.loads((tmp_path / 'out' / 'panoptic_gt_VIPSeg_train.json').read_text())
    (segment,) = content['annotations'][0]['annotations'][0]['segments_info']
    assert segment['area'] == (4 + 10) * 8


def test_a_damaged_image_leaves_nothing(tmp_path):
    write_masks(tmp_path / 'source')
    last = next((tmp_path / 'source' / 'JPEGImages').rglob('00002.jpg'))
    last.write_bytes(last.read_bytes()[:-600])
    with pytest.raises(SystemExit, match='00002.jpg'):
        main([str(tmp_path / 'source'), str(tmp_path / 'out'), '--from', 'masks'])
    assert not list((tmp_path / 'out').rglob('*'))


def test_the_command_refuses_bad_options(tmp_path):
    write_masks(tmp_path / 'source')
    words = [str(tmp_path / 'source'), str(tmp_path / 'out'), '--from', 'masks']
    with pytest.raises(SystemExit, match='--val must be from 0 to below 1, got 1.0'):
        main([*words, '--val', '1'])
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'file').touch()
    with pytest.raises(SystemExit, match='out is not empty; name a new folder'):
        main(words)
    with pytest.raises(SystemExit, match='there is no folder'):
        main([str(tmp_path / 'absent'), str(tmp_path / 'new'), '--from', 'labelme'])


def label_studio(root, regions, suffix='f0.jpg', **data):
    """An export of Label Studio with one task for each list of regions."""
    folder = root / 'clip'
    folder.mkdir(parents=True)
    tasks = []
    for t, results in enumerate(regions):
        picture(t).save(folder / f'f{t}.jpg')
        found = [{**dict(original_width=SIZE[1], original_height=SIZE[0], image_rotation=0), **r} for r in results]
        annotations = [dict(was_cancelled=False, result=found)] if results else []
        tasks.append(dict(data=dict(data, image=f'/data/local-files/?d=clip/f{t}.jpg'), annotations=annotations))
    (root / 'export.json').write_text(json.dumps(tasks))
    return READERS['label-studio'](root)


def region(number, left, kind='rectanglelabels', label='car'):
    value = dict(x=left, y=10, width=20, height=20, rotation=0)
    return dict(id=f'r{number}', type=kind, value=dict(value, **{kind: [label]}) if kind.endswith('labels') else value)


def control(region_number, kind, left, **value):
    """A control for a region, which repeats its position, as Label Studio writes it."""
    return dict(id=f'r{region_number}', type=kind, value=dict(x=left, y=10, width=20, height=20, rotation=0, **value))


@pytest.mark.parametrize(
    'values',
    [
        [dict(number=1), dict(number=1.0)],
        [dict(text=['7']), dict(text='7')],
        [dict(choices=['a']), dict(choices=['a'])],
    ],
)
def test_identities_of_label_studio_do_not_depend_on_the_position(tmp_path, values):
    kinds = dict(number='number', text='textarea', choices='choices')
    regions = [
        [region(1, 10 + 5 * t), control(1, kinds[next(iter(value))], 10 + 5 * t, **value)]
        for t, value in enumerate(values)
    ]
    (video,) = label_studio(tmp_path, regions)
    assert [sorted(item.masks) for item in video.objects] == [[0, 1]]


def test_a_second_control_of_label_studio_does_not_hide_the_identity(tmp_path, caplog):
    regions = [
        [
            part
            for number, left in ((1, 5), (2, 60))
            for part in (
                region(number, left),
                control(number, 'number', left, number=number),
                control(number, 'choices', left, choices=['visible']),
            )
        ],
        [],
    ]
    (video,) = label_studio(tmp_path, regions, camera='cam v1.0')
    assert len(video.objects) == 2 and len(video.images) == 1
    assert '1 tasks without annotation are left out' in caplog.text


def test_labels_of_label_studio_may_be_results_of_their_own(tmp_path):
    shape = region(1, 10, 'rectangle')
    labels = dict(id='r1', type='labels', value=dict(shape['value'], labels=['dog']))
    (video,) = label_studio(tmp_path, [[shape, labels]])
    assert [item.label for item in video.objects] == ['dog']


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(type='videorectangle'), 'regions of the type videorectangle are not read; use brush'),
        (dict(image_rotation=90), 'the image was turned while it was labelled'),
        (dict(value=dict(x=1, y=1, width=5, height=5, rotation='x', rectanglelabels=['car'])), 'must be numbers'),
        (dict(value=dict(x=10**400, y=1, width=5, height=5, rectanglelabels=['car'])), 'must be numbers'),
        (dict(type='polygonlabels', value=dict(points=[[10**400, 1]], polygonlabels=['car'])), 'pairs of numbers'),
        (dict(value=dict(x=1, y=1, width=5, height=5, rectanglelabels=['a', 'b'])), 'a region must have one label'),
    ],
)
def test_regions_of_label_studio_that_cannot_be_read(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        label_studio(tmp_path, [[{**region(1, 10), **change}]])


def coco_files(root, names, **image):
    """A COCO file with an annotation in each image."""
    images, annotations = [], []
    for k, name in enumerate(names, 1):
        more = {key: values[k - 1] for key, values in image.items()}
        images.append(dict(id=k, file_name=name, height=SIZE[0], width=SIZE[1], **more))
        annotations.append(dict(id=k, image_id=k, category_id=1, bbox=[2, 2, 9, 9], track_id=1))
    content = dict(images=images, annotations=annotations, categories=[dict(id=1, name='car')])
    root.mkdir(parents=True, exist_ok=True)
    return content


def write_images(root, names):
    for k, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        picture(k).save(root / name)


def test_an_image_of_another_video_is_no_replacement(tmp_path):
    write_images(tmp_path, ['A/0001.jpg', 'A/0002.jpg'])
    (tmp_path / 'a.json').write_text(json.dumps(coco_files(tmp_path, ['A/0001.jpg', 'B/0002.jpg'])))
    with pytest.raises(DataError, match='there is no image B/0002.jpg below'):
        READERS['coco'](tmp_path)


@pytest.mark.parametrize('has_ids', [False, True])
def test_videos_of_the_same_name_stay_apart(tmp_path, has_ids):
    names = ['day1/cam0/f1.jpg', 'day1/cam0/f2.jpg', 'day2/cam0/f1.jpg', 'day2/cam0/f2.jpg']
    write_images(tmp_path, names)
    content = coco_files(tmp_path, names, **(dict(video_id=[1, 1, 2, 2]) if has_ids else {}))
    if has_ids:
        content['videos'] = [dict(id=1, name='day1/cam0'), dict(id=2, name='day2/cam0')]
    (tmp_path / 'a.json').write_text(json.dumps(content))
    videos = READERS['coco'](tmp_path)
    assert [len(video.images) for video in videos] == [2, 2] and [len(v.objects) for v in videos] == [1, 1]
    assert len({video.name for video in videos}) == 2 and all(video.name.endswith('cam0') for video in videos)


def test_the_order_of_frames_may_differ_from_that_of_their_names(tmp_path):
    names = ['b.jpg', 'a.jpg', 'c.jpg']
    write_images(tmp_path / 'in', names)
    content = coco_files(tmp_path / 'in', names, frame_index=[0, 1, 2])
    (tmp_path / 'in' / 'a.json').write_text(json.dumps(content))
    assert main([str(tmp_path / 'in'), str(tmp_path / 'out'), '--from', 'coco', '--val', '0']) == 0
    prefix = dict(img='images', seg='panomasksRGB')
    arguments = dict(data_root=str(tmp_path / 'out'), ann_file='panoptic_gt_VIPSeg_train.json', data_prefix=prefix)
    dataset = VIPSegDataset(class_list=None, clip=dict(num_frames=3), **arguments)
    frames = [np.asarray(Image.open(frame['image'])) for frame in dataset.get_data_info(0)['frames']]
    expected = [np.asarray(Image.open(tmp_path / 'in' / name)) for name in names]
    assert all(map(np.array_equal, frames, expected))


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda c: c['categories'].append(dict(id=1, name='dog')), 'the category 1 occurs more than once'),
        (lambda c: c['images'].append(c['images'][0]), 'the image id 1 occurs more than once'),
        (lambda c: c['annotations'][0].update(bbox=[10**400, 0, 1, 1]), 'a box must be'),
        (lambda c: c['annotations'][0].update(image_id=10**400), 'must be an integer of at most 64 bits'),
    ],
)
def test_ids_that_occur_twice_and_numbers_without_end(tmp_path, change, message):
    write_images(tmp_path, ['A/0001.jpg'])
    content = coco_files(tmp_path, ['A/0001.jpg'])
    change(content)
    (tmp_path / 'a.json').write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        READERS['coco'](tmp_path)


@pytest.mark.parametrize('name', ['..', 'a\nb', ' lead', 'x\0y', 'a/b', '\ud800'])
def test_names_of_videos_are_checked_as_paths(tmp_path, name):
    (video,) = read_source('labelme', tmp_path)
    bad = type(video)(name, video.images, video.size, video.objects)
    with pytest.raises(DataError, match='cannot be the name of a video'):
        list(write_videos([bad], tmp_path / 'out', 'vspw', classes_of_labels([bad])))
    assert not (tmp_path / 'out').exists()


def test_turned_boxes_of_coco_and_many_files(tmp_path):
    write_images(tmp_path, ['A/0001.jpg'])
    content = coco_files(tmp_path, ['A/0001.jpg'])
    content['annotations'][0].update(bbox=[20, 15, 20, 10], attributes=dict(rotation=90))
    (tmp_path / 'a.json').write_text(json.dumps(content))
    (video,) = READERS['coco'](tmp_path)
    mask = coco_mask.decode(video.objects[0].masks[0]).astype(bool)
    assert mask[10:30, 25:35].all() and mask.sum() == 200
    (tmp_path / 'b.json').write_text(json.dumps(content))
    with pytest.raises(DataError, match='0001.jpg is labelled twice, perhaps in two files'):
        READERS['coco'](tmp_path)


def test_step_and_start_of_a_task_of_cvat(tmp_path):
    write_cvat(tmp_path)
    folder = tmp_path / 'v1'
    for t in range(FRAMES):
        (folder / 'images' / f'frame_{t:06d}.PNG').rename(folder / 'images' / f'a{t}.png')
    box = '<box frame="{}" outside="0" xtl="1" ytl="1" xbr="9" ybr="9"/>'
    meta = '<meta><task><size>{}</size><start_frame>4</start_frame><frame_filter>step=2</frame_filter></task></meta>'
    track = f'<track id="0" label="x">{box.format(6)}</track>'
    (folder / 'annotations.xml').write_text(f'<annotations>{meta.format(3)}{track}</annotations>')
    (video,) = READERS['cvat'](tmp_path)
    assert list(video.objects[0].masks) == [1]
    (folder / 'annotations.xml').write_text(f'<annotations>{meta.format(4)}{track}</annotations>')
    with pytest.raises(DataError, match='states 4 frames, but there are 3 images'):
        READERS['cvat'](tmp_path)


def test_shapes_with_a_group_are_one_object_and_fronts_hold_in_all_frames(tmp_path):
    box = '<polygon frame="{}" outside="0" points="1,1;9,1;9,9" z_order="0"/>'
    tracks = ''.join(f'<track id="{t}" label="x" group_id="5">{box.format(t)}</track>' for t in range(2))
    assert [sorted(o.masks) for o in cvat_of(tmp_path / 'a', tracks).objects] == [[0, 1]]
    shape = '<box label="{}" xtl="1" ytl="1" xbr="9" ybr="9" z_order="{}" group_id="{}"/>'
    images = (
        f'<image name="frame_000000">{shape.format("cat", 1, 1)}</image>'
        f'<image name="frame_000001">{shape.format("cat", 1, 1)}{shape.format("dog", 0, 2)}</image>'
    )
    assert [o.label for o in cvat_of(tmp_path / 'b', images).objects] == ['dog', 'cat']


def test_what_a_user_may_not_expect_is_printed(tmp_path, capsys):
    folder = write_labelme(tmp_path)
    for path in folder.glob('*.json'):
        content = json.loads(path.read_text())
        whole = [[0.0, 0.0], [60.0, 0.0], [60.0, 40.0], [0.0, 40.0]]
        content['shapes'].append(dict(label='fog', points=whole, group_id=9, shape_type='polygon'))
        path.write_text(json.dumps(content))
    assert main([str(tmp_path), str(tmp_path / 'out'), '--from', 'labelme']) == 0
    text = capsys.readouterr().out
    assert 'note: all shapes of grass without identity are one object in each video' in text
    assert 'note: 3 objects are hidden by others in all frames' in text


def test_objects_255_and_loose_masks(tmp_path):
    write_masks(tmp_path)
    folder = next((tmp_path / 'Annotations').rglob('v1'))
    for path in folder.glob('*.png'):
        values = np.zeros(SIZE, np.uint16)
        values[:5, :5], values[10:20, 10:20] = 255, 300
        Image.fromarray(values).save(path)
    (video,) = READERS['masks'](tmp_path)
    assert len(video.objects) == 2
    (folder / 'person_1').mkdir()
    with pytest.raises(DataError, match='stands beside folders of objects'):
        READERS['masks'](tmp_path)


def test_a_folder_may_be_called_like_a_command(tmp_path, monkeypatch):
    from mmdvis.cli.convert import main as convert

    monkeypatch.chdir(tmp_path)
    write_labelme(tmp_path / 'labels')
    write_labelme(tmp_path / 'coco')
    assert convert(['labels', 'first', '--from', 'labelme']) == 0
    assert convert(['coco', 'second', '--from=labelme']) == 0
    assert convert(['labels', 'labels', 'third', '--from', 'labelme']) == 0
    assert all((tmp_path / name / 'images').is_dir() for name in ('first', 'second', 'third'))
