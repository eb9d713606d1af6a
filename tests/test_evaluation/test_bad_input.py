"""Files that cannot be scored give exit code 2 and an error message with file, frame and id."""

import json
import re
import shutil
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from helpers.metric_fixtures import SET, VIPSEG
from PIL import Image
from pycocotools import mask as coco_mask

from mmdvis.errors import BadInputError
from mmdvis.evaluation.files.consistency import InconsistentFilesWarning
from mmdvis.evaluation.files.pngs import read_ids

VIDEO, FRAME = '441_reenter', '00000292.png'


@pytest.fixture
def copy(tmp_path):
    """Copy of the VIPSeg fixture that a test may damage."""
    folder = tmp_path / 'vipseg'
    shutil.copytree(SET / 'vipseg', folder)
    return folder


def words(folder):
    return [str(word).replace(str(SET / 'vipseg'), str(folder)) for word in VIPSEG]


def change_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def segments(content, frame=1):
    return next(v for v in content['annotations'] if v['video_id'] == VIDEO)['annotations'][frame]['segments_info']


def png(folder, side='submission/pan_pred'):
    return folder / side / VIDEO / FRAME


def recolour(path, mode):
    image = Image.open(path)
    image.convert(mode).save(path)


def crop(path):
    Image.fromarray(np.asarray(Image.open(path))[:-1]).save(path)


def png_header(width, height):
    """A PNG that claims a size and has no pixels."""

    def chunk(kind, content):
        return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))

    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0))
        + chunk(b'IDAT', b'')
    )


def lead_outside(content, name):
    for video in (*content['videos'], *content['annotations']):
        if video['video_id'] == name:
            video['video_id'] = '../x'


def repeat_a_frame(content):
    frames = content['annotations'][2]['annotations']
    frames[1] = dict(frames[1], image_id=frames[0]['image_id'])


CASES = {
    'missing png': (lambda f: png(f).unlink(), rf'the PNG .*{VIDEO}/{FRAME}.* does not exist'),
    'missing true png': (
        lambda f: png(f, 'panomasksRGB').unlink(),
        rf'the PNG .*panomasksRGB/{VIDEO}/{FRAME}.* does not exist',
    ),
    'id not listed': (
        lambda f: change_json(f / 'submission' / 'pred.json', lambda c: segments(c).pop()),
        rf'video {VIDEO}, frame {FRAME}: \d+ predicted pixels have an id .*\d+\) that is not listed .*{FRAME}',
    ),
    'id without pixels': (
        lambda f: change_json(
            f / 'submission' / 'pred.json', lambda c: segments(c).append(dict(id=12345, category_id=1))
        ),
        rf'frame {FRAME}: segments_info lists id 12345, but no predicted pixel has this id',
    ),
    'unknown category': (
        lambda f: change_json(f / 'submission' / 'pred.json', lambda c: segments(c)[0].update(category_id=999)),
        rf'frame {FRAME}: predicted category 999 of id \d+ is not in the category list',
    ),
    'wrong size': (
        lambda f: crop(png(f)),
        rf'frame {FRAME}: the prediction is \(47, 64\) .*, the ground truth \(48, 64\)',
    ),
    'grey png': (lambda f: recolour(png(f), 'L'), rf'{FRAME} is a PNG of mode L; a panoptic PNG must be RGB'),
    'palette png': (lambda f: recolour(png(f), 'P'), rf'{FRAME} is a PNG of mode P; a panoptic PNG must be RGB'),
    'torn png': (lambda f: png(f).write_bytes(png(f).read_bytes()[:60]), rf'{FRAME} is not a readable PNG'),
    'torn json': (
        lambda f: (f / 'submission' / 'pred.json').write_text('{"annotations": ['),
        'pred.json is not valid JSON',
    ),
    'no json': (lambda f: (f / 'submission' / 'pred.json').unlink(), 'there is no file .*pred.json'),
    'other json': (
        lambda f: (f / 'submission' / 'pred.json').write_text('{"a": 1}'),
        "pred.json lacks 'annotations'; it has a",
    ),
    'missing video': (
        lambda f: change_json(f / 'submission' / 'pred.json', lambda c: c['annotations'].pop(0)),
        'pred.json lacks the video .*, which .*panoptic_gt_VIPSeg_val.json has',
    ),
    'missing frame': (
        lambda f: change_json(
            f / 'submission' / 'pred.json',
            lambda c: next(v for v in c['annotations'] if v['video_id'] == VIDEO)['annotations'].pop(),
        ),
        rf'video {VIDEO} has 6 frames .* 5',
    ),
    'no videos': (
        lambda f: change_json(f / 'panoptic_gt_VIPSeg_val.json', lambda c: c.update(annotations=[])),
        'contains no annotations, so there is nothing to score',
    ),
    'a jpeg as ground truth': (
        lambda f: Image.open(png(f, 'panomasksRGB')).save(png(f, 'panomasksRGB'), 'JPEG'),
        rf'{FRAME} is a JPEG file; it must be a PNG, because other formats may change the values',
    ),
    'a png of too many pixels': (
        lambda f: png(f, 'panomasksRGB').write_bytes(png_header(20000, 20000)),
        rf'{FRAME} is not a readable PNG: Image size \(400000000 pixels\) exceeds limit',
    ),
    'a video without annotations': (
        lambda f: change_json(f / 'panoptic_gt_VIPSeg_val.json', lambda c: c['annotations'].pop(0)),
        "lists the video .* in 'videos', but has no annotations of it",
    ),
    'a frame without annotation': (
        lambda f: change_json(f / 'panoptic_gt_VIPSeg_val.json', lambda c: c['annotations'][2]['annotations'].pop(1)),
        'video .*: the image .* has no annotation; every frame must have one',
    ),
    'a video twice in the truth': (
        lambda f: change_json(
            f / 'panoptic_gt_VIPSeg_val.json', lambda c: c['annotations'].append(c['annotations'][0])
        ),
        'has annotations of the video .* more than once',
    ),
    'a name that leads outside': (
        lambda f: change_json(f / 'panoptic_gt_VIPSeg_val.json', lambda c: lead_outside(c, c['videos'][0]['video_id'])),
        "the name '../x/.*' cannot be used as a file name in .*panomasksRGB",
    ),
    'an empty file name': (
        lambda f: change_json(
            f / 'panoptic_gt_VIPSeg_val.json', lambda c: c['videos'][0]['images'][0].update(file_name='')
        ),
        "video .*: '' is not a file name",
    ),
    'a video listed twice': (
        lambda f: change_json(f / 'panoptic_gt_VIPSeg_val.json', lambda c: c['videos'].append(c['videos'][0])),
        "lists the video .* more than once in 'videos'",
    ),
    'a frame twice in the truth': (
        lambda f: change_json(f / 'panoptic_gt_VIPSeg_val.json', repeat_a_frame),
        'the image .* has more than one annotation',
    ),
    'a video predicted twice': (
        lambda f: change_json(f / 'submission' / 'pred.json', lambda c: c['annotations'].append(c['annotations'][0])),
        'pred.json has the video .* more than once',
    ),
}


@pytest.mark.parametrize('name', CASES)
@pytest.mark.parametrize('task', ['vpq', 'stq'])
def test_panoptic(score, copy, capsys, name, task):
    break_it, message = CASES[name]
    break_it(copy)
    code, scores = score(task, *words(copy))
    text = capsys.readouterr().err
    assert code == 2 and scores is None
    assert text.startswith('error: ') and text.count('\n') == 1
    assert re.search(message, text), text


def first(content):
    return content['annotations'][0]['annotations'][0]


CROOKED = {  # name -> (json of the ground truth (0) or of the prediction (1), damage, error message)
    'a list': (0, lambda c: [c], 'lacks|contains no annotations|must be'),
    'null annotations': (0, lambda c: c.update(annotations=None), 'contains no annotations'),
    'null predictions': (1, lambda c: c.update(annotations=None), "'annotations' must be a list, got a NoneType"),
    'flat predictions': (1, lambda c: c.update(annotations=[first(c)]), "a video lacks '(video_id|annotations)'"),
    'no segments': (0, lambda c: first(c).pop('segments_info'), "lacks 'segments_info'"),
    'no predicted segments': (1, lambda c: first(c).update(segments_info=3), "'segments_info' must be a list"),
    'no id': (1, lambda c: first(c)['segments_info'][0].pop('id'), "lacks 'id'"),
    'a text for an id': (1, lambda c: first(c)['segments_info'][0].update(id='x'), "'id' must be a number, got 'x'"),
    'half an id': (1, lambda c: first(c)['segments_info'][0].update(id=1.5), "'id' must be an integer, got 1.5"),
    'no category': (0, lambda c: first(c)['segments_info'][0].pop('category_id'), "lacks 'category_id'"),
    'no area': (0, lambda c: first(c)['segments_info'][0].pop('area'), r'the ground truth states no area for id \d+'),
    'a small area': (
        0,
        lambda c: [s.update(area=1) for v in c['annotations'] for f in v['annotations'] for s in f['segments_info']],
        'states an area of 1 for id',
    ),
    'no categories': (0, lambda c: c.pop('categories'), "lacks 'categories'"),
}


@pytest.mark.parametrize('name', CROOKED)
def test_crooked_json(score, copy, capsys, name):
    side, change, message = CROOKED[name]
    path = copy / ('panoptic_gt_VIPSeg_val.json', 'submission/pred.json')[side]
    content = json.loads(path.read_text())
    changed = change(content)
    path.write_text(json.dumps(changed if name == 'a list' else content))
    assert score('vpq', *words(copy))[0] == 2
    text = capsys.readouterr().err
    assert text.startswith('error: ') and text.count('\n') == 1 and re.search(message, text), text


@pytest.mark.parametrize(
    'flavour, root',
    [('vipseg', 'cityscapes_vps/panoptic_gt_val_city_vps.json'), ('cityscapes', 'vipseg/panoptic_gt_VIPSeg_val.json')],
)
def test_another_flavour(score, capsys, flavour, root):
    where = ['--gt-json', SET / root, '--gt-dir', SET, '--pred', SET / 'vipseg' / 'submission']
    assert score('vpq', '--flavour', flavour, *where)[0] == 2
    assert 'is it of another flavour?' in capsys.readouterr().err


def test_areas_of_predictions_are_never_read(score, copy):
    change_json(
        copy / 'submission' / 'pred.json',
        lambda c: [s.update(area=None) for v in c['annotations'] for f in v['annotations'] for s in f['segments_info']],
    )
    assert score('vpq', *words(copy))[1] == score('vpq', *VIPSEG)[1]


def test_names_and_order_are_those_of_the_images(score, copy):
    """Annotations that name jpg files and have another order give the same scores."""

    def change(content):
        for video, named in zip(content['annotations'], content['videos']):
            assert video['video_id'] == named['video_id']
            for frame, image in zip(video['annotations'], named['images']):
                image['file_name'] = frame['file_name']
                frame['image_id'] = image['id']
                frame['file_name'] = frame['file_name'].replace('.png', '.jpg')
            video['annotations'].reverse()

    change_json(copy / 'panoptic_gt_VIPSeg_val.json', change)
    assert score('vpq', *words(copy))[1] == score('vpq', *VIPSEG)[1]


def test_damaged_pngs_are_named(tmp_path):
    """Pillow reports damage with several exceptions; most damaged files cannot be read, a few still can."""
    assert sum(is_refused_when_damaged(tmp_path / 'x.png', seed) for seed in range(30)) > 15


def is_refused_when_damaged(path, seed):
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 256, (60, 60, 3), dtype=np.uint8)).save(path)
    data = bytearray(path.read_bytes())
    for place in rng.integers(8, len(data), 3):
        data[place] ^= int(rng.integers(1, 256))
    data[int(rng.integers(8, 60))] ^= 0x20
    path.write_bytes(data)
    try:
        read_ids(path)
    except BadInputError as error:
        assert 'x.png' in str(error)
        return True
    return False


def test_segmentation(score, tmp_path, capsys):
    folder = tmp_path / 'vspw'
    shutil.copytree(SET / 'vspw', folder)
    words = ['--gt', folder, '--list', folder / 'val.txt', '--pred', folder / 'pred']
    frame = sorted((folder / 'pred' / '726_v2').iterdir())[2]
    good = frame.read_bytes()
    for change, message in (
        (lambda: frame.unlink(), 'does not exist'),
        (lambda: recolour(frame, 'RGB'), 'PNG of mode RGB'),
        (lambda: crop(frame), r'(height, width), but the ground truth'),
    ):
        change()
        assert score('vss', *words)[0] == 2
        text = capsys.readouterr().err
        assert message in text and frame.name in text
        frame.write_bytes(good)
    (folder / 'val.txt').write_text('nothing_v0')
    assert score('vss', *words)[0] == 2 and 'contains no masks' in capsys.readouterr().err
    (folder / 'val.txt').write_text('')
    assert score('vss', *words)[0] == 2 and 'lists no video' in capsys.readouterr().err


def test_a_list_without_a_final_newline_is_read_whole(score, tmp_path):
    """A public script drops the last character of every line."""
    (tmp_path / 'val.txt').write_text((SET / 'vspw' / 'val.txt').read_text().rstrip('\n'))
    words = ['--gt', SET / 'vspw', '--pred', SET / 'vspw' / 'pred', '--list']
    assert score('vss', *words, tmp_path / 'val.txt')[1] == score('vss', *words, SET / 'vspw' / 'val.txt')[1]


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda r: r[3].update(video_id=99), 'track 3 refers to video 99, which'),
        (lambda r: r[3]['segmentations'].append(None), 'track 3 of video .* has .* masks, but the video has'),
        (lambda r: r[3].update(score=None), "track 3: 'score' must be a number, got None"),
        (lambda r: r[3].update(score=float('nan')), "track 3: 'score' must be a number, got nan"),
        (lambda r: r[3].update(segmentations=None), "track 3: 'segmentations' must be a list"),
        (
            lambda r: r[3]['segmentations'].__setitem__(0, [[1, 2, 3]]),
            "frame 0: a mask must be null or have 'size' and 'counts'",
        ),
        (
            lambda r: r[3]['segmentations'].__setitem__(0, dict(size=[3, 4], counts='0')),
            r'frame 0: the mask is \[3, 4\] ',
        ),
        (lambda r: r.clear() or r.append(3), "track 0 lacks 'score'; it has a int: 3"),
    ],
)
def test_tracks(score, tmp_path, capsys, change, message):
    content = json.loads((SET / 'ytvis' / 'results.json').read_text())
    change(content)
    (tmp_path / 'results.json').write_text(json.dumps(content))
    assert score('vis', '--gt', SET / 'ytvis' / 'gt.json', '--pred', tmp_path / 'results.json')[0] == 2
    assert re.search(message, capsys.readouterr().err)


def test_no_tracks_at_all_is_a_score(score, tmp_path):
    """A public script raises IndexError for an empty list of results."""
    (tmp_path / 'results.json').write_text('[]')
    code, scores = score('vis', '--gt', SET / 'ytvis' / 'gt.json', '--pred', tmp_path / 'results.json')
    assert code == 0 and scores['AP'] == 0 and scores['AR10'] == 0


def test_occlusion_needs_ovis(score, tmp_path, capsys):
    content = json.loads((SET / 'ytvis' / 'gt.json').read_text())
    content['annotations'][0].pop('occlusion')
    (tmp_path / 'gt.json').write_text(json.dumps(content))
    words = ['--gt', tmp_path / 'gt.json', '--pred', SET / 'ytvis' / 'results.json']
    assert (
        score('vis', *words, '--ovis')[0] == 2
        and 'has no occlusion labels, so it is not from OVIS' in capsys.readouterr().err
    )
    assert score('vis', *words)[0] == 0


def test_an_empty_group_is_nan_and_said(score, copy, capsys):
    """A public script divides by zero if a group has no class."""
    change_json(copy / 'panoptic_gt_VIPSeg_val.json', lambda c: [x.update(isthing=1) for x in c['categories']])
    code, scores = score('vpq', *words(copy))
    assert code == 0 and np.isnan(scores['VPQ_St']) and not np.isnan(scores['VPQ_Th'])
    assert 'VPQ_St is NaN: no class of its group occurs' in capsys.readouterr().out


def first_counts(tracks):
    """The first mask, with compressed run lengths."""
    mask = next(mask for track in tracks for mask in track['segmentations'] if mask)
    if isinstance(mask['counts'], list):
        mask['counts'] = coco_mask.frPyObjects(mask, *mask['size'])['counts'].decode()
    return mask


DAMAGES = {
    'a character less': lambda mask: mask.update(counts=mask['counts'][:-1]),
    'a character in the middle': lambda mask: mask.update(counts=mask['counts'][:4] + mask['counts'][5:]),
    'an open code': lambda mask: mask.update(counts=mask['counts'] + 'o'),
    'nothing': lambda mask: mask.update(counts=''),
    'letters': lambda mask: mask.update(counts='\u00e9' * 9),
    'a huge run': lambda mask: mask.update(counts=[1 << 40, 3]),
    'a negative run': lambda mask: mask.update(counts=[-5, 7]),
    'too few pixels': lambda mask: mask.update(counts=[1, 2, 3]),
    'fractions': lambda mask: mask.update(counts=[0.5, 3]),
    'flags': lambda mask: mask.update(counts=[True, 3]),
}


@pytest.mark.parametrize('side', ['gt', 'results'])
@pytest.mark.parametrize('damage', DAMAGES)
def test_wrong_run_lengths_end_with_a_sentence(score, tmp_path, capsys, side, damage):
    """pycocotools reads some of them for ever."""
    paths = {name: SET / 'ytvis' / f'{name}.json' for name in ('gt', 'results')}
    content = json.loads(paths[side].read_text())
    DAMAGES[damage](first_counts(content['annotations'] if side == 'gt' else content))
    paths[side] = tmp_path / f'{side}.json'
    paths[side].write_text(json.dumps(content))
    assert score('vis', '--gt', paths['gt'], '--pred', paths['results'])[0] == 2
    assert re.search(
        r'track \d+ of video \d+, frame \d+: the run lengths of the mask (are malformed|add up to \d+); they must be',
        capsys.readouterr().err,
    )


def test_every_cut_of_a_mask_ends(score, tmp_path, capsys):
    """All masks that are one character shorter, checked as they are read."""
    from mmdvis.evaluation.files.track_files import check_counts

    tracks = json.loads((SET / 'ytvis' / 'results.json').read_text())
    masks = [mask for track in tracks[:6] for mask in track['segmentations'][:2] if mask]
    checked = 0
    for mask in masks:
        for k in range(len(mask['counts'])):
            try:
                check_counts(mask['counts'][:k] + mask['counts'][k + 1 :], tuple(mask['size']), 'a mask')
            except BadInputError:
                checked += 1
        check_counts(mask['counts'], tuple(mask['size']), 'a mask')
    assert checked > 500


@pytest.mark.parametrize('value', [2, '1', 0.5, None, 'absent'])
@pytest.mark.parametrize('field', ['isthing', 'iscrowd'])
def test_flags_that_are_neither_yes_nor_no(copy, score, capsys, field, value):
    def change(content):
        entry = content['categories'][0] if field == 'isthing' else segments(content)[0]
        entry.pop(field, None)
        if value != 'absent':
            entry[field] = value

    path = next(path for path in copy.glob('*.json'))
    change_json(path, change)
    code, _ = score('vpq', *words(copy))
    if field == 'iscrowd' and value == 'absent':
        assert code == 0  # as in the official files of VIPSeg
    else:
        error = capsys.readouterr().err
        assert code == 2 and (f"'{field}' must be true, false, 1 or 0" in error or f"lacks '{field}'" in error)


@pytest.mark.parametrize('text', ['[' * 100000, '{"annotations": [{"video_id": Infinity}]}'])
def test_strange_json_is_named(score, tmp_path, capsys, text):
    (tmp_path / 'gt.json').write_text(text)
    assert score('vis', '--gt', tmp_path / 'gt.json', '--pred', SET / 'ytvis' / 'results.json')[0] == 2
    assert 'gt.json' in capsys.readouterr().err


@pytest.mark.parametrize('side', ['panoptic_gt_VIPSeg_val.json', 'submission/pred.json'])
@pytest.mark.parametrize('number', [-1, 1 << 24, -(1 << 70), 1 << 70])
def test_ids_that_no_png_can_store(copy, score, capsys, side, number):
    change_json(copy / side, lambda content: segments(content)[0].update(id=number))
    assert score('vpq', *words(copy))[0] == 2
    assert "'id' must be from 0 to 16777215, as a PNG stores it" in capsys.readouterr().err


def unlisted(content):
    segments(content).pop()


def without_pixels(content):
    segments(content).append(dict(segments(content)[0], id=4711, area=9, iscrowd=0))


def ten_times(content):
    for segment in segments(content):
        segment['area'] *= 10


def twice(content):
    segments(content).append(dict(segments(content)[0], area=0))


CONTRADICTIONS = {
    'an id that is not listed': (unlisted, r'has \d+ pixels of ids that its JSON file lacks'),
    'an id without pixels': (without_pixels, 'lists the id 4711, of which its PNG has no pixel'),
    'areas of another size': (ten_times, r'states an area of \d+ for the id \d+, of which its PNG has \d+ pixels'),
    'an id that is listed twice': (twice, r'the ground truth lists the id \d+ more than once'),
}


@pytest.mark.parametrize('name', CONTRADICTIONS)
def test_contradictions_in_the_truth_are_told(score, copy, name):
    """The official scripts count them without a word; the figure stays theirs."""
    change, message = CONTRADICTIONS[name]
    change_json(copy / 'panoptic_gt_VIPSeg_val.json', change)
    with pytest.warns(InconsistentFilesWarning, match=rf'video {VIDEO}, frame {FRAME}: .*{message}'):
        assert score('vpq', *words(copy))[0] == 0


def test_files_that_agree_are_scored_without_a_warning(score, copy):
    change_json(copy / 'panoptic_gt_VIPSeg_val.json', lambda c: None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        assert score('vpq', *words(copy))[0] == 0
    told = [str(w.message) for w in caught if issubclass(w.category, InconsistentFilesWarning)]
    assert all(text.startswith('video 743_class_flip') and 'more than once' in text for text in told)  # as it is made


def test_masks_of_semantic_videos_are_complete(score, tmp_path, capsys):
    shutil.copytree(SET / 'vspw', tmp_path / 'vspw')
    root = tmp_path / 'vspw'
    video = (root / 'val.txt').read_text().split()[0]
    masks = sorted((root / 'data' / video / 'mask').glob('*.png'))
    where = ['--gt', root, '--list', root / 'val.txt', '--pred', root / 'pred']
    assert score('vss', *where)[0] == 0
    for mask in masks:
        (root / 'data' / video / 'origin').mkdir(exist_ok=True)
        (root / 'data' / video / 'origin' / f'{mask.stem}.jpg').write_bytes(b'')
    assert score('vss', *where)[0] == 0
    content = masks[1].read_bytes()
    masks[1].unlink()
    assert score('vss', *where)[0] == 2
    assert f'lacks {masks[1].name}, of which' in capsys.readouterr().err
    shutil.rmtree(root / 'data' / video / 'origin')
    assert score('vss', *where)[0] == 2
    assert 'is a prediction of a frame without a mask' in capsys.readouterr().err
    masks[1].write_bytes(content)
    Image.open(masks[0]).convert('L').save(masks[0], 'JPEG')
    assert score('vss', *where)[0] == 2
    assert 'is a JPEG file; it must be a PNG' in capsys.readouterr().err
    (root / 'val.txt').write_text(f'{video}\n{video}\n')
    assert score('vss', *where)[0] == 2
    assert f'lists the video {video} more than once' in capsys.readouterr().err


def test_an_image_must_not_occur_twice(score, tmp_path, capsys):
    from helpers.metric_fixtures import IMAGES

    words = [str(word) for word in IMAGES]
    for option in ('--gt-json', '--pred-json'):
        path = Path(words[words.index(option) + 1])
        content = json.loads(path.read_text())
        content['annotations'].append(content['annotations'][0])
        (tmp_path / path.name).write_text(json.dumps(content))
        damaged = [str(tmp_path / path.name) if word == str(path) else word for word in words]
        assert score('pq', *damaged)[0] == 2
        assert 'has the image' in (text := capsys.readouterr().err) and 'more than once' in text
