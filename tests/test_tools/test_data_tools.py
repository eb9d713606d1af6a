"""check_dataset and browse_dataset, on folders and on configs."""

import json
import sys

import av
import numpy as np
import pytest
from helpers import official_layouts as official
from helpers import tiny_datasets
from helpers.commands import load
from PIL import Image

from mmdvis.datasets import classes as class_lists
from mmdvis.datasets.detect_layout import find_datasets

FOUND = dict(
    vipseg=3,
    vspw_720p=3,
    ovis_360p=2,
    youtube_vis_2021_360p=2,
    youtube_vis_2022_480p=2,
    cityscapes_vps=5,
    viper_vps=2,
    coco_panoptic=4,
)


def run(path, monkeypatch, *arguments):
    tool = load(path)
    monkeypatch.setattr(sys, 'argv', ['tool', *map(str, arguments)])
    tool.main()


@pytest.mark.parametrize('kind', FOUND)
def test_every_layout_is_found_and_whole(kind, tmp_path, monkeypatch, capsys):
    root = tmp_path / kind
    tiny_datasets.write(kind, root)
    assert len(find_datasets(root)) == FOUND[kind]
    with pytest.raises(SystemExit) as ended:
        run('tools/misc/check_dataset.py', monkeypatch, root, '--workers', 1, '--out', tmp_path / 'report.json')
    reports = json.loads((tmp_path / 'report.json').read_text())
    assert ended.value.code == 0 and len(reports) == FOUND[kind], capsys.readouterr().out
    assert all(not report['problems'] and report['videos'] and report['frames'] for report in reports)
    labelled = [report for report in reports if report['classes']]
    assert labelled and all(sum(c['objects'] for c in report['classes'].values()) >= 3 for report in labelled)


def test_the_flat_json_of_viper_is_found(tmp_path):
    official.viper(tmp_path, class_lists.VIPER.split())
    assert [config['ann_file'] for config in find_datasets(tmp_path)] == [
        'viper_panoptic_train_video.json',
        'viper_panoptic_val_day_video.json',
    ]
    official.folders(tmp_path / 'frames')
    assert find_datasets(tmp_path / 'frames')[0]['type'] == 'ImageFolderVideoDataset'


def test_everything_wrong_is_told_at_once(tmp_path, monkeypatch, capsys):
    tiny_datasets.write('vipseg', tmp_path / 'data')
    (tmp_path / 'data/images/0_train/00000015.jpg').unlink()
    (tmp_path / 'data/images/0_train/00000020.jpg').write_bytes(b'')
    Image.new('RGB', (56, 40), (1, 2, 3)).save(tmp_path / 'data/panomasksRGB/1_train/00000010.png')
    path = tmp_path / 'data/panoptic_gt_VIPSeg_val.json'
    content = json.loads(path.read_text())
    content['annotations'][0]['annotations'][0]['segments_info'][0]['category_id'] = 900
    path.write_text(json.dumps(content))
    with pytest.raises(SystemExit) as ended:
        run(
            'tools/misc/check_dataset.py',
            monkeypatch,
            tmp_path / 'data',
            '--workers',
            2,
            '--out',
            tmp_path / 'report.json',
        )
    kinds = [
        problem['kind']
        for report in json.loads((tmp_path / 'report.json').read_text())
        for problem in report['problems']
    ]
    assert ended.value.code == 1 and sorted(kinds) == ['annotation', 'missing', 'truth', 'unreadable']
    printed = capsys.readouterr().out
    assert 'missing: video 0_train, frame 00000015.png: ' in printed and 'the category 900' in printed


def test_a_config_is_checked_once_for_each_dataset(tmp_path, monkeypatch, capsys):
    tiny_datasets.write('vspw_720p', tmp_path / 'data')
    (tmp_path / 'c.py').write_text(tiny_datasets.config('vspw_720p', tmp_path / 'data').pretty_text)
    with pytest.raises(SystemExit) as ended:
        run('tools/misc/check_dataset.py', monkeypatch, tmp_path / 'c.py', '--out', tmp_path / 'report.json')
    assert ended.value.code == 0 and len(json.loads((tmp_path / 'report.json').read_text())) == 2


def test_images_of_two_videos_that_are_one(tmp_path):
    from mmdvis.analysis.check_dataset import check_dataset

    root = tiny_datasets.write('youtube_vis_2021_360p', tmp_path)
    content = json.loads((root / 'train.json').read_text())
    content['videos'][1]['file_names'][3] = content['videos'][0]['file_names'][3]
    (root / 'train.json').write_text(json.dumps(content))
    report = check_dataset(next(config for config in find_datasets(root) if not config['test_mode']))
    assert [problem.kind for problem in report.problems] == [
        'duplicate'
    ] and 'is also used by video 1' in report.problems[0].text


@pytest.mark.parametrize(
    'arguments, sentence', [(('nowhere',), 'nowhere'), (('.',), 'holds no dataset in a known layout')]
)
def test_nothing_to_check(arguments, sentence, tmp_path, monkeypatch, capsys):
    (tmp_path / 'notes.txt').write_text('')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        run(
            official.__file__.replace('tests/helpers/official_layouts.py', 'tools/misc/check_dataset.py'),
            monkeypatch,
            *arguments,
        )
    assert ended.value.code == 2 and sentence in capsys.readouterr().out


def test_browsing_shows_clips_before_and_after(tmp_path, monkeypatch):
    tiny_datasets.write('vipseg', tmp_path / 'data')
    (tmp_path / 'c.py').write_text(tiny_datasets.config('vipseg', tmp_path / 'data').pretty_text)
    run(
        'tools/analysis_tools/browse_dataset.py',
        monkeypatch,
        tmp_path / 'c.py',
        '--number',
        2,
        '--num-frames',
        3,
        '--columns',
        3,
        '--out',
        tmp_path / 'out',
    )
    sheet = np.asarray(Image.open(tmp_path / 'out/clips.png'))
    # two clips, before and after augmentation, three frames each
    assert sheet.shape == (4 * (20 + 150 + 6), 3 * (210 + 6), 3)
    videos = sorted((tmp_path / 'out').glob('*.mp4'))
    with av.open(str(videos[0])) as container:
        frames = list(container.decode(video=0))
    assert len(videos) == 2 and len(frames) == 3 and frames[0].width == 2 * 56


@pytest.mark.parametrize('kind', ('ovis_360p', 'vspw_720p', 'cityscapes_vps'))
def test_browsing_a_folder_with_unlabelled_splits(kind, tmp_path, monkeypatch):
    tiny_datasets.write(kind, tmp_path / 'data')
    run(
        'tools/analysis_tools/browse_dataset.py',
        monkeypatch,
        tmp_path / 'data',
        '--number',
        1,
        '--out',
        tmp_path / 'out',
    )
    assert (tmp_path / 'out/clips.png').is_file() and len(list((tmp_path / 'out').glob('*.mp4'))) == FOUND[kind]
