"""Videos of labelling tools: written as each tool writes them, converted, and read by the datasets."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from mmdvis.cli.convert_labels import main
from mmdvis.datasets import VIPSegDataset, VSPWDataset, YouTubeVISDataset
from mmdvis.datasets.converters.labels import READERS, WRITERS, write_videos
from mmdvis.datasets.converters.labels.writers import class_names, split_videos
from mmdvis.errors import DataError

SIZE, FRAMES = (40, 60), 3


def truth(frame):
    """Masks of two cats and a region: name and number -> (H, W)."""
    masks = {key: np.zeros(SIZE, bool) for key in (('cat', 1), ('cat', 2), ('grass', 3))}
    masks['cat', 1][5:15, 4 + 3 * frame : 14 + 3 * frame] = True
    if frame != 1:  # hidden in the second frame
        masks['cat', 2][8:20, 40:50] = True
    masks['grass', 3][30:] = True
    return masks


def picture(frame):
    return Image.fromarray(np.random.default_rng(frame).integers(0, 256, (*SIZE, 3), np.uint8))


def write_labelme(root, name='v1'):
    folder = root / name
    folder.mkdir(parents=True)
    for t in range(FRAMES):
        picture(t).save(folder / f'frame{t}.png')
        shapes = []
        for (label, number), mask in truth(t).items():
            if not mask.any():
                continue
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            top, bottom, left, right = rows[0], rows[-1], columns[0], columns[-1]
            shape = dict(label=label, group_id=None if label == 'grass' else number)
            if number == 1:
                points = [[left, top], [right + 1, top], [right + 1, bottom + 1], [left, bottom + 1]]
                shape.update(shape_type='polygon', points=np.array(points, float).tolist())
            elif number == 2:
                shape.update(shape_type='rectangle', points=[[float(left), float(top)], [right + 1.0, bottom + 1.0]])
            else:
                buffer = io.BytesIO()
                Image.fromarray(mask[top : bottom + 1, left : right + 1]).save(buffer, 'PNG')
                encoded = base64.b64encode(buffer.getvalue()).decode()
                shape.update(
                    shape_type='mask', points=[[float(left), float(top)], [float(right), float(bottom)]], mask=encoded
                )
            shapes.append(shape)
        content = dict(version='5.4.1', flags={}, shapes=shapes, imagePath=f'frame{t}.png', imageData=None)
        content.update(imageHeight=SIZE[0], imageWidth=SIZE[1])
        (folder / f'frame{t}.json').write_text(json.dumps(content))
    return folder


def write_cvat(root, name='v1'):
    folder = root / name
    (folder / 'images').mkdir(parents=True)
    tracks = {key: [] for key in truth(0)}
    for t in range(FRAMES):
        picture(t).save(folder / 'images' / f'frame_{t:06d}.PNG')
        for key, mask in truth(t).items():
            flags = f'frame="{t}" keyframe="1" occluded="0" z_order="0"'
            if not mask.any():
                tracks[key].append(f'<polygon {flags} outside="1" points="1,1;5,1;5,5"/>')
                continue
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            top, bottom, left, right = rows[0], rows[-1], columns[0], columns[-1]
            if key[1] == 1:
                points = f'{left},{top};{right + 1},{top};{right + 1},{bottom + 1};{left},{bottom + 1}'
                tracks[key].append(f'<polygon {flags} outside="0" points="{points}"/>')
            elif key[1] == 2:
                tracks[key].append(
                    f'<box {flags} outside="0" xtl="{left}" ytl="{top}" xbr="{right + 1}" ybr="{bottom + 1}"/>'
                )
            else:  # a crop one pixel larger, row by row, beginning with background
                crop = np.pad(mask[top : bottom + 1, left : right + 1], ((1, 0), (0, 0))).ravel()
                changes = np.flatnonzero(np.diff(crop)) + 1
                runs = np.diff([0, *changes, len(crop)])
                place = f'left="{left}" top="{top - 1}" width="{right - left + 1}" height="{bottom - top + 2}"'
                tracks[key].append(f'<mask {flags} outside="0" rle="{", ".join(map(str, runs))}" {place}/>')
    body, count = '', 0
    for (label, number), shapes in tracks.items():
        for part in [[shape] for shape in shapes] if number == 3 else [shapes]:  # CVAT has no tracks of masks
            body += f'<track id="{count}" label="{label}" source="manual">{"".join(part)}</track>'
            count += 1
    (folder / 'annotations.xml').write_text(
        f'<?xml version="1.0"?><annotations><version>1.1</version>{body}</annotations>'
    )
    return folder


def write_mots(root, name='v1'):
    folder, lines = root / name, []
    folder.mkdir(parents=True)
    for t in range(FRAMES):
        picture(t).save(folder / f'{t + 1:06d}.jpg')
        for (label, number), mask in truth(t).items():
            if mask.any():
                code = coco_mask.encode(np.asfortranarray(mask, np.uint8))['counts'].decode()
                category = dict(cat=2, grass=7)[label]
                lines.append(f'{t + 1} {category * 1000 + number} {category} {SIZE[0]} {SIZE[1]} {code}')
    lines.append(f'1 10000 10 {SIZE[0]} {SIZE[1]} {code}')  # a region without labels
    (folder / 'gt.txt').write_text('\n'.join(lines))
    return folder


def write_masks(root, name='v1'):
    for t in range(FRAMES):
        image, mask = root / 'JPEGImages' / '480p' / name, root / 'Annotations' / '480p' / name
        for folder in (image, mask):
            folder.mkdir(parents=True, exist_ok=True)
        picture(t).save(image / f'{t:05d}.jpg')
        values = np.zeros(SIZE, np.uint8)
        for (_, number), found in truth(t).items():
            values[found] = number
        values[0, 0] = 255
        palette = Image.fromarray(values, 'P')
        palette.putpalette([k for k in range(256) for _ in range(3)])
        palette.save(mask / f'{t:05d}.png')
    return root


WRITE = dict(labelme=write_labelme, cvat=write_cvat, mots=write_mots, masks=write_masks)
NAMES = dict(mots=dict(cat='pedestrian', grass='class 7'), masks=dict(cat='object', grass='object'))


def root_of(kind, folder):
    WRITE[kind](folder)
    return folder


@pytest.mark.parametrize('kind', READERS)
def test_every_pixel_id_and_class_is_read(kind, tmp_path):
    (video,) = READERS[kind](root_of(kind, tmp_path))
    assert (video.name, video.size, len(video.images)) == ('v1', SIZE, FRAMES)
    names = NAMES.get(kind, dict(cat='cat', grass='grass'))
    found = sorted((item.label, sorted(item.masks)) for item in video.objects)
    assert found == sorted([(names['cat'], [0, 1, 2]), (names['cat'], [0, 2]), (names['grass'], [0, 1, 2])])
    for t in range(FRAMES):
        expected = {(names[label], mask.tobytes()) for (label, _), mask in truth(t).items() if mask.any()}
        masks = {(o.label, coco_mask.decode(o.masks[t]).astype(bool).tobytes()) for o in video.objects if t in o.masks}
        assert masks == expected


@pytest.mark.parametrize('kind', READERS)
@pytest.mark.parametrize('layout', WRITERS)
def test_converted_videos_are_read_by_the_datasets(kind, layout, tmp_path, capsys):
    source = tmp_path / 'source'
    root_of(kind, source)
    names = NAMES.get(kind, dict(cat='cat', grass='grass'))
    stuff = [] if kind == 'masks' else ['--stuff', names['grass']]
    assert main([str(source), str(tmp_path / 'out'), '--from', kind, '--to', layout, '--val', '0', *stuff]) == 0
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
        class_names(videos, ['tree'])


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


def remove(kind, name):
    return lambda root: next((WRITE[kind](root)).rglob(name)).unlink()


def resize(kind, name):
    return lambda root: (lambda path: Image.new('L', (9, 9)).save(path))(next(WRITE[kind](root).rglob(name)))


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
    ('cvat', change_cvat('<version>1.1</version>', '<image id="0"/>'), 'has no tracks; export "CVAT for video 1.1"'),
    ('mots', change_mots('1 2 3'), 'gt.txt, line 1: expected "frame id class height width mask"'),
    ('mots', change_mots('9 1 2 40 60 abc'), 'line 1: there is no image of frame 9'),
    ('mots', change_mots('1 1 2 41 60 abc'), r'line 1: the mask is \(41, 60\) .*, but the frames are \(40, 60\)'),
    ('mots', change_mots('1 1 2 40 60 abc'), 'line 1: the run lengths of the mask'),
    ('mots', remove('mots', 'gt.txt'), 'has gt.txt or gt/gt.txt; check the folder and --from'),
    ('masks', resize('masks', '00001.png'), r'00001.png is \(9, 9\), but its image is \(40, 60\)'),
    ('masks', remove('masks', '00001.jpg'), '00001.png has no image in'),
    ('masks', lambda root: write_labelme(root), 'must have the folders images and masks'),
]


@pytest.mark.parametrize('number', range(len(FAULTS)))
def test_faults_give_one_sentence(number, tmp_path):
    kind, spoil, message = FAULTS[number]
    spoil(tmp_path)
    with pytest.raises(DataError, match=message):
        READERS[kind](tmp_path)


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
    monkeypatch.chdir(WRITE[kind](tmp_path))
    assert [video.name for video in READERS[kind](Path('.'))] == ['v1']


def test_names_images_and_classes_that_would_be_lost(tmp_path, monkeypatch):
    folder = write_labelme(tmp_path)
    monkeypatch.chdir(folder)
    (video,) = READERS['labelme'](type(tmp_path)('.'))
    assert video.name == 'v1'
    bad = type(video)('', video.images, video.size, video.objects)
    with pytest.raises(DataError, match="'' cannot be the name of a video"):
        list(write_videos([bad], tmp_path / 'out', 'ytvis'))
    assert not (tmp_path / 'out').exists()
    (only,) = split_videos([video], 0.9)
    assert only == 'train' and class_names([video], ['grass', 'grass']) == ['cat', 'grass']


def test_regions_of_one_class_are_one_segment(tmp_path):
    shapes = '<track id="{0}" label="grass"><box frame="0" xtl="{0}" ytl="1" xbr="{1}" ybr="9"/></track>'
    video = cvat_of(tmp_path / 'in', shapes.format(1, 5) + shapes.format(20, 30))
    list(write_videos([video], tmp_path / 'out', 'vipseg', ['grass'], 0.0))
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
