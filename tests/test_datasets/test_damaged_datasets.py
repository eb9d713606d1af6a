"""Common kinds of damage to datasets, and the error message with file, video and frame."""

import re
import shutil

import pytest
from helpers import tiny_datasets
from helpers.damage import JSON, TRACKS, dataset_config, edit, first_frame
from helpers.damage_cases import CITY, LINES, YTVIS
from PIL import Image

from mmdvis.analysis.check_dataset import check_dataset
from mmdvis.errors import DataError
from mmdvis.registry import DATASETS


@pytest.fixture(scope='module')
def originals(tmp_path_factory):
    root = tmp_path_factory.mktemp('originals')
    for kind in ('vipseg', 'vspw_720p', YTVIS, CITY):
        tiny_datasets.write(kind, root / kind)
    return root


@pytest.mark.parametrize('name', LINES)
def test_damage(name, originals, tmp_path):
    """Training stops with the error message, and check_dataset reports the same problem."""
    kind, damage, expected = LINES[name]
    shutil.copytree(originals / kind, tmp_path / 'data')
    damage(tmp_path / 'data')
    config = dataset_config(kind, tmp_path / 'data')
    with pytest.raises(DataError, match=expected):
        dataset = DATASETS.build(config)
        [dataset[k] for k in range(len(dataset))]
    report = check_dataset(config)
    assert any(re.search(expected, problem.text) or problem.kind == 'size' for problem in report.problems), [
        problem.text for problem in report.problems
    ]


def test_the_table_is_long_enough():
    assert len(LINES) >= 50


@pytest.mark.parametrize('kind', ('vipseg', 'vspw_720p', YTVIS, CITY))
def test_whole_data_has_no_problem(kind, originals):
    report = check_dataset(dataset_config(kind, originals / kind))
    assert not report.problems and report.videos == 2 and sum(c['objects'] for c in report.classes.values()) >= 6


# valid input that must be accepted ------------------------------------------
def targets(kind, root):
    sample = DATASETS.build(dataset_config(kind, root))[0]['data_samples']
    return dict(zip(sample.gt_ids.tolist(), sample.gt_labels.tolist())), sample.gt_index_maps


def test_crowds_alone_leave_a_clip_without_objects(originals, tmp_path):
    shutil.copytree(originals / 'vipseg', tmp_path / 'data')

    def change(content):
        for frame in content['annotations'][0]['annotations']:
            for segment in frame['segments_info']:
                segment['iscrowd'] = 1

    edit(tmp_path / 'data' / JSON, change)
    objects, maps = targets('vipseg', tmp_path / 'data')
    assert objects == {} and not maps.any()
    report = check_dataset(dataset_config('vipseg', tmp_path / 'data'))
    assert report.empty_videos == ('0_train',) and not report.problems


def test_a_video_without_objects_is_used(originals, tmp_path):
    shutil.copytree(originals / YTVIS, tmp_path / 'data')
    edit(
        tmp_path / 'data' / TRACKS, lambda c: c.update(annotations=[a for a in c['annotations'] if a['video_id'] == 2])
    )
    objects, maps = targets(YTVIS, tmp_path / 'data')
    assert objects == {} and not maps.any()
    dataset = DATASETS.build(dict(dataset_config(YTVIS, tmp_path / 'data'), filter_empty=True))
    assert len(dataset) == 1 and dataset.get_data_info(0)['video_id'] == 2


def test_lists_end_as_they_like(originals, tmp_path):
    expected, maps = targets('vspw_720p', originals / 'vspw_720p')
    for text in (b'0_train\r\n1_train\r\n', b'0_train\n1_train\n', b'\xef\xbb\xbf0_train\r\n\r\n1_train'):
        root = tmp_path / str(len(text))
        shutil.copytree(originals / 'vspw_720p', root)
        (root / 'train.txt').write_bytes(text)
        objects, other_maps = targets('vspw_720p', root)
        assert objects == expected and (maps == other_maps).all()


def test_names_spelled_in_another_way_are_warned_of(originals, tmp_path):
    shutil.copytree(originals / 'vipseg', tmp_path / 'data')
    edit(tmp_path / 'data' / JSON, lambda c: c['categories'][60].update(name='human'))
    with pytest.warns(UserWarning, match="60 is 'human' instead of 'person'"):
        targets('vipseg', tmp_path / 'data')
    edit(tmp_path / 'data' / JSON, lambda c: c['categories'][60].update(name='PERSON'))
    targets('vipseg', tmp_path / 'data')  # case does not matter


def test_an_id_with_two_categories_is_warned_of(originals, tmp_path):
    shutil.copytree(originals / 'vipseg', tmp_path / 'data')
    before, _ = targets('vipseg', tmp_path / 'data')
    edit(tmp_path / 'data' / JSON, lambda c: first_frame(c, 3)[0].update(category_id=62))
    with pytest.warns(
        UserWarning,
        match='has category 62, but .* in an earlier frame; in a clip, the category of the first occurrence',
    ):
        after, _ = targets('vipseg', tmp_path / 'data')
    assert after == before


def test_a_folder_that_may_not_be_read(originals, monkeypatch):
    from pathlib import Path

    def refuse(path):
        raise PermissionError(13, 'Permission denied', str(path))

    monkeypatch.setattr(Path, 'iterdir', refuse)
    with pytest.raises(DataError, match=r'the folder .*origin cannot be read \(Permission denied\)'):
        targets('vspw_720p', originals / 'vspw_720p')


def test_an_image_that_may_not_be_read(originals, monkeypatch):
    real = Image.open

    def refuse(path, *rest):
        if str(path).endswith('00000015.jpg'):
            raise PermissionError(13, 'Permission denied', str(path))
        return real(path, *rest)

    monkeypatch.setattr(Image, 'open', refuse)
    with pytest.raises(DataError, match='00000015.jpg cannot be read as an image: permission denied'):
        targets('vipseg', originals / 'vipseg')
