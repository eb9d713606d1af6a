"""Results that are exported to a labelling tool and read back."""

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from helpers.results import CLASSES, MAKERS, SIZE, pictures
from PIL import Image
from pycocotools import mask as coco_mask

from mmdvis.cli.convert import main as convert
from mmdvis.cli.export_labels import main
from mmdvis.datasets.converters.labels import READERS
from mmdvis.datasets.training_data import read_training_data
from mmdvis.io import open_frames
from mmdvis.result_files import SavedResults, VideoInfo, write_results
from mmdvis.result_files.label_export import WRITERS, outline
from mmdvis.results.frame_result import mask_object

T = 4


def write(folder, task='vps'):
    frames = [(picture, MAKERS[task](t)) for t, picture in enumerate(pictures(T))]
    info = VideoInfo(name='street', classes=CLASSES, size=SIZE, fps=10.0)
    write_results(frames, folder / 'street', info, ['json', 'masks', 'video'])
    return folder / 'street', [result for _, result in frames]


@pytest.mark.parametrize('task', MAKERS)
@pytest.mark.parametrize('tool', WRITERS)
def test_a_round_trip_keeps_every_pixel_id_and_class(tmp_path, task, tool, capsys):
    source, results = write(tmp_path, task)
    assert main([str(source), str(tmp_path / 'out'), '--to', tool, '--frames', str(source / 'video.mp4')]) == 0
    (video,) = READERS[tool](tmp_path / 'out')
    assert (len(video.images), video.size) == (T, SIZE)
    for t, result in enumerate(results):
        expected = {(segment.name, segment.mask.tobytes()) for segment in result.objects}
        found = {
            (item.label, coco_mask.decode(item.masks[t]).astype(bool).tobytes())
            for item in video.objects
            if t in item.masks
        }
        assert found == expected
    numbers = {(segment.id, segment.name) for result in results for segment in result.objects}
    assert len(video.objects) == len(numbers) and sorted(o.label for o in video.objects) == sorted(
        n for _, n in numbers
    )
    assert f'{T} frames, {len(numbers)} objects' in capsys.readouterr().out


def test_the_printed_command_makes_a_dataset(tmp_path, capsys):
    source, _ = write(tmp_path)
    main([str(source), str(tmp_path / 'out'), '--to', 'coco', '--frames', str(source / 'video.mp4')])
    words = capsys.readouterr().out.splitlines()[-1].split('mmdvis data convert labels ')[1].split()
    path = tmp_path / 'out' / 'annotations' / 'instances_default.json'
    content = json.loads(path.read_text())
    content['annotations'] = [a for a in content['annotations'] if a['category_id'] != 3]  # a class without objects
    path.write_text(json.dumps(content))
    for layout in ('vipseg', 'ytvis', 'vspw'):
        assert convert([*words[:1], str(tmp_path / layout), *words[2:], '--to', layout]) == 0
        data = read_training_data(tmp_path / layout)
        assert data.classes.names == ('car', 'person', 'sky') and data.num_frames == T
        assert data.classes.num_things == dict(ytvis=3).get(layout, 2)
    content['categories'].append(dict(id=30, name='dog'))
    content['annotations'][0]['category_id'] = 30
    path.write_text(json.dumps(content))
    with pytest.raises(SystemExit, match='has an object of the class dog, which .*result.json lacks'):
        convert([*words[:1], str(tmp_path / 'data'), *words[2:]])
    with pytest.raises(SystemExit, match='--classes tells which classes are stuff; leave out --stuff'):
        convert([*words[:1], str(tmp_path / 'data'), *words[2:], '--stuff', 'sky'])


def test_polygons_are_tracks_and_what_they_lose_is_counted(tmp_path, capsys):
    source, results = write(tmp_path)
    assert main([str(source), str(tmp_path / 'out'), '--polygons']) == 0
    tracks = ElementTree.parse(tmp_path / 'out' / 'annotations.xml').getroot().findall('track')
    assert sorted(track.get('label') for track in tracks) == ['car', 'person', 'sky']
    person = next(track for track in tracks if track.get('label') == 'person')
    assert [(s.get('frame'), s.get('outside')) for s in person] == [('0', '0'), ('1', '0'), ('2', '1'), ('3', '0')]
    assert 'left out' not in capsys.readouterr().out
    (tmp_path / 'out' / 'images').mkdir()
    for t, picture in enumerate(pictures(T)):
        Image.fromarray(picture).save(tmp_path / 'out' / 'images' / f'frame_{t:06d}.png')
    (video,) = READERS['cvat'](tmp_path / 'out')
    for item in video.objects:
        for t, code in item.masks.items():
            mask = next(s.mask for s in results[t].objects if s.name == item.label)
            found = coco_mask.decode(code).astype(bool)
            assert (found & mask).sum() / (found | mask).sum() > 0.9


def segment_of(mask):
    return mask_object(mask, lambda: mask, id=1, label=0, name='car', score=None, is_thing=True)


def test_outlines():
    mask = np.zeros((12, 12), bool)
    mask[2:9, 3:10] = True
    points, others = outline(segment_of(mask))
    assert others == 0
    for values, first, last in ((points[::2], 3, 10), (points[1::2], 2, 9)):
        assert min(values) == pytest.approx(first, abs=0.2) and max(values) == pytest.approx(last, abs=0.2)
    mask[5, 5] = False  # a hole
    mask[11, 0] = True  # another part
    assert outline(segment_of(mask))[1] == 2
    pixel = np.zeros((5, 5), bool)
    pixel[2, 1] = True
    points, others = outline(segment_of(pixel))
    assert len(points) >= 6 and others == 0 and 1 <= min(points[::2]) < max(points[::2]) <= 2


def test_bad_input_gives_one_sentence(tmp_path):
    source, _ = write(tmp_path)
    with pytest.raises(SystemExit, match='contains no complete result.json'):
        main([str(tmp_path), str(tmp_path / 'out')])
    frames = [(picture, MAKERS['vps'](t)) for t, picture in enumerate(pictures(2))]
    info = VideoInfo(name='maps', classes=CLASSES, size=SIZE, fps=10.0)
    write_results(frames, tmp_path / 'maps', info, ['json'])
    with pytest.raises(SystemExit, match='but not the folder panoptic with the masks; write the results with'):
        main([str(tmp_path / 'maps'), str(tmp_path / 'out')])
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'file').touch()
    with pytest.raises(SystemExit, match='full is not empty; name a new folder'):
        main([str(source), str(tmp_path / 'full')])
    frames = [(picture, MAKERS['vps'](t)) for t, picture in enumerate(pictures(2))]
    info = VideoInfo(name='short', classes=CLASSES, size=SIZE, fps=10.0)
    write_results(frames, tmp_path / 'short', info, ['json', 'masks', 'video'])
    with pytest.raises(SystemExit, match=r'the video has 2 frames of \(40, 60\) .*, but the results have 4'):
        main([str(source), str(tmp_path / 'out'), '--frames', str(tmp_path / 'short' / 'video.mp4')])
    assert not (tmp_path / 'out').exists() and len(open_frames(source / 'video.mp4')) == len(SavedResults(source)) == T
    name = next((source / 'panoptic').iterdir())
    name.write_bytes(b'x')
    with pytest.raises(SystemExit, match=name.name):
        main([str(source), str(tmp_path / 'out')])
    assert not (tmp_path / 'out').exists() or not any((tmp_path / 'out').iterdir())


def test_ids_of_categories_begin_with_one(tmp_path):
    source, _ = write(tmp_path, 'vss')
    main([str(source), str(tmp_path / 'out'), '--to', 'coco'])
    content = json.loads((tmp_path / 'out' / 'annotations' / 'instances_default.json').read_text())
    assert [entry['id'] for entry in content['categories']] == [2, 3, 24]
    assert all(entry['segmentation']['counts'][0] >= 0 for entry in content['annotations'])
