"""Files that cannot be scored: one sentence that names file, frame and id, and exit code 2."""
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from test_scoring import SET, VIPSEG, score  # noqa: F401

VIDEO, FRAME = '441_reenter', '00000292.png'


@pytest.fixture
def copy(tmp_path):
    """A copy of the fixture that may be broken."""
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


CASES = {
    'missing png': (lambda f: png(f).unlink(), rf'there is no PNG .*{VIDEO}/{FRAME}'),
    'missing true png': (lambda f: png(f, 'panomasksRGB').unlink(), rf'there is no PNG .*panomasksRGB/{VIDEO}/{FRAME}'),
    'id not listed': (lambda f: change_json(f / 'submission' / 'pred.json', lambda c: segments(c).pop()),
                      rf'video {VIDEO}, frame {FRAME}: \d+ predicted pixels have an id, such as \d+, that .* not list .*{FRAME}'),
    'id without pixels': (lambda f: change_json(f / 'submission' / 'pred.json', lambda c: segments(c).append(
        dict(id=12345, category_id=1))), rf'frame {FRAME}: segments_info lists id 12345, no predicted pixel has it'),
    'unknown category': (lambda f: change_json(f / 'submission' / 'pred.json', lambda c: segments(c)[0].update(category_id=999)),
                         rf'frame {FRAME}: predicted category 999 of id \d+ is not among the classes'),
    'wrong size': (lambda f: crop(png(f)), rf'frame {FRAME}: the prediction is \(47, 64\) .*, the ground truth \(48, 64\)'),
    'grey png': (lambda f: recolour(png(f), 'L'), rf'{FRAME} is a PNG of mode L; a panoptic PNG is RGB'),
    'palette png': (lambda f: recolour(png(f), 'P'), rf'{FRAME} is a PNG of mode P; a panoptic PNG is RGB'),
    'torn png': (lambda f: png(f).write_bytes(png(f).read_bytes()[:60]), rf'{FRAME} is no readable PNG'),
    'torn json': (lambda f: (f / 'submission' / 'pred.json').write_text('{"annotations": ['), 'pred.json is no valid json'),
    'no json': (lambda f: (f / 'submission' / 'pred.json').unlink(), 'there is no file .*pred.json'),
    'other json': (lambda f: (f / 'submission' / 'pred.json').write_text('{"a": 1}'), "pred.json lacks 'annotations'; it has a"),
    'missing video': (lambda f: change_json(f / 'submission' / 'pred.json', lambda c: c['annotations'].pop(0)),
                      'pred.json lacks the video .*, which .*panoptic_gt_VIPSeg_val.json has'),
    'missing frame': (lambda f: change_json(f / 'submission' / 'pred.json', lambda c: next(
        v for v in c['annotations'] if v['video_id'] == VIDEO)['annotations'].pop()), rf'video {VIDEO} has 6 frames .* 5'),
    'no videos': (lambda f: change_json(f / 'panoptic_gt_VIPSeg_val.json', lambda c: c.update(annotations=[])),
                  'holds no annotations, so there is nothing to score')}


@pytest.mark.parametrize('name', CASES)
@pytest.mark.parametrize('task', ['vpq', 'stq'])
def test_panoptic(score, copy, capsys, name, task):  # noqa: F811
    break_it, message = CASES[name]
    break_it(copy)
    code, found = score(task, *words(copy))
    text = capsys.readouterr().err
    assert code == 2 and found is None
    assert text.startswith('error: ') and text.count('\n') == 1
    import re
    assert re.search(message, text), text


def test_segmentation(score, tmp_path, capsys):  # noqa: F811
    folder = tmp_path / 'vspw'
    shutil.copytree(SET / 'vspw', folder)
    words = ['--gt', folder, '--list', folder / 'val.txt', '--pred', folder / 'pred']
    frame = sorted((folder / 'pred' / '726_v2').iterdir())[2]
    good = frame.read_bytes()
    for change, message in ((lambda: frame.unlink(), 'there is no PNG'), (lambda: recolour(frame, 'RGB'), 'PNG of mode RGB'),
                            (lambda: crop(frame), r'(height, width), the truth')):
        change()
        assert score('vss', *words)[0] == 2
        text = capsys.readouterr().err
        assert message in text and frame.name in text
        frame.write_bytes(good)
    (folder / 'val.txt').write_text('nothing_v0')
    assert score('vss', *words)[0] == 2 and 'holds no masks' in capsys.readouterr().err
    (folder / 'val.txt').write_text('')
    assert score('vss', *words)[0] == 2 and 'names no video' in capsys.readouterr().err


def test_a_list_without_a_final_newline_is_read_whole(score, tmp_path):  # noqa: F811
    """A public script cuts the last character of every line."""
    (tmp_path / 'val.txt').write_text((SET / 'vspw' / 'val.txt').read_text().rstrip('\n'))
    words = ['--gt', SET / 'vspw', '--pred', SET / 'vspw' / 'pred', '--list']
    assert score('vss', *words, tmp_path / 'val.txt')[1] == score('vss', *words, SET / 'vspw' / 'val.txt')[1]


@pytest.mark.parametrize('change, message', [
    (lambda r: r[3].update(video_id=99), 'track 3 is of video 99, which'),
    (lambda r: r[3]['segmentations'].append(None), 'track 3 of video .* has .* masks, the video has'),
    (lambda r: r.clear() or r.append(3), 'is no track: 3')])
def test_tracks(score, tmp_path, capsys, change, message):  # noqa: F811
    content = json.loads((SET / 'ytvis' / 'results.json').read_text())
    change(content)
    (tmp_path / 'results.json').write_text(json.dumps(content))
    assert score('vis', '--gt', SET / 'ytvis' / 'gt.json', '--pred', tmp_path / 'results.json')[0] == 2
    import re
    assert re.search(message, capsys.readouterr().err)


def test_no_tracks_at_all_is_a_score(score, tmp_path):  # noqa: F811
    """A public script raises IndexError."""
    (tmp_path / 'results.json').write_text('[]')
    code, found = score('vis', '--gt', SET / 'ytvis' / 'gt.json', '--pred', tmp_path / 'results.json')
    assert code == 0 and found['AP'] == 0 and found['AR10'] == 0


def test_occlusion_needs_ovis(score, tmp_path, capsys):  # noqa: F811
    content = json.loads((SET / 'ytvis' / 'gt.json').read_text())
    content['annotations'][0].pop('occlusion')
    (tmp_path / 'gt.json').write_text(json.dumps(content))
    words = ['--gt', tmp_path / 'gt.json', '--pred', SET / 'ytvis' / 'results.json']
    assert score('vis', *words, '--ovis')[0] == 2 and 'without occlusion' in capsys.readouterr().err
    assert score('vis', *words)[0] == 0


def test_an_empty_group_is_nan_and_said(score, copy, capsys):  # noqa: F811
    """A public script divides by zero."""
    change_json(copy / 'panoptic_gt_VIPSeg_val.json', lambda c: [x.update(isthing=1) for x in c['categories']])
    code, found = score('vpq', *words(copy))
    assert code == 0 and np.isnan(found['VPQ_St']) and not np.isnan(found['VPQ_Th'])
    assert 'VPQ_St is NaN: no class of its group occurs' in capsys.readouterr().out
