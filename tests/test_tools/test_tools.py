"""Tools and shell scripts, each run in its own process as a user runs it."""

import json
import re
import zipfile

import av
import mmengine
import numpy as np
import pytest
import torch
from helpers import tiny_config
from helpers.commands import DATA, call
from PIL import Image

from mmdvis.apis import init_model
from mmdvis.checkpoints import read_checkpoint


@pytest.fixture(scope='module')
def trained(tmp_path_factory, toy_root):
    """Work folder, config and checkpoint of a first stage that was trained for two iterations."""
    folder = tmp_path_factory.mktemp('tools')
    config = tiny_config.write(folder, 'minvis', toy_root)
    text = call('tools/train.py', config, '--work-dir', folder / 'minvis', fresh=True)
    assert f'last checkpoint: {folder / "minvis" / "iter_2.pth"}' in text
    return folder, config, folder / 'minvis' / 'iter_2.pth'


@pytest.mark.slow
def test_passes_and_checkpoints_are_fused(trained, tmp_path):
    _, config, checkpoint = trained
    scores = {}
    content = torch.load(checkpoint, weights_only=False)
    weights = content['state_dict']
    weights['segmenter.cls_embed.bias'][-1] -= 20.0  # every query is an object
    for name in ('weight', 'bias'):
        weights[f'segmenter.mask_embed.4.{name}'] *= -1.0  # the logits of masks are negative after two iterations
    checkpoint = tmp_path / 'first.pth'
    torch.save(content, checkpoint)
    for name in ('segmenter.cls_embed.weight', 'segmenter.query_feat.weight'):
        weights[name] += torch.randn_like(weights[name])
    torch.save(content, tmp_path / 'other.pth')
    members = dict(
        plain=[],
        one=['--ensemble', checkpoint],
        other=['--ensemble', tmp_path / 'other.pth'],
        two=['--tta', 64, 80],
        flip=['--tta-flip'],
    )
    maps = {}
    for name, options in members.items():
        work = tmp_path / name
        outputs = ['--work-dir', work, '--metrics', work / 'm.json', '--out', work / 'results.pkl']
        low = ['--cfg-options', 'model.postprocessor.score_thr=0.0', 'model.postprocessor.overlap_thr=0.0']
        call('tools/test.py', config, checkpoint, *outputs, *options, *low)
        scores[name] = json.loads((work / 'm.json').read_text())
        maps[name] = torch.cat([sample['pred_panoptic'].id_map for sample in mmengine.load(work / 'results.pkl')])
    assert scores['plain'] == scores['one'] and scores['two'].keys() == scores['one'].keys()
    assert maps['plain'].any() and torch.equal(maps['plain'], maps['one'])
    for name in ('other', 'two', 'flip'):
        assert not torch.equal(maps['plain'], maps[name])


def test_scores_results_and_videos_are_written(trained):
    folder, config, checkpoint = trained
    call(
        'tools/test.py',
        config,
        checkpoint,
        '--work-dir',
        folder / 'test',
        '--metrics',
        folder / 'm.json',
        '--out',
        folder / 'results.pkl',
        '--show-dir',
        folder / 'show',
    )
    assert {'VPQ', 'VPQ_Th', 'STQ_corrected'} <= set(json.loads((folder / 'm.json').read_text()))
    assert (folder / 'results.pkl').stat().st_size > 1000
    assert sorted(p.name for p in (folder / 'show').iterdir()) == [f'val_000{k}.mp4' for k in range(3)]


def test_out_must_be_a_pickle(trained):
    _, config, checkpoint = trained
    assert '--out must be a .pkl file, got r.json' in call(
        'tools/test.py', config, checkpoint, '--out', 'r.json', fails=True
    )


def test_a_video_is_segmented(trained, tmp_path):
    _, config, checkpoint = trained
    folder = tmp_path / 'frames'
    folder.mkdir()
    rng = np.random.default_rng(0)
    for k in range(11):
        Image.fromarray(rng.integers(0, 256, (50, 70, 3), dtype=np.uint8)).save(folder / f'f{k}.jpg')
    text = call(
        'demo/video_demo.py',
        folder,
        config,
        checkpoint,
        '--out',
        tmp_path / 'out',
        '--short-edge',
        64,
        '--fps',
        10,
        '--score-thr',
        0.05,
    )
    assert 'frame/s' in text or 's/frame' in text
    with av.open(str(tmp_path / 'out' / 'video.mp4')) as container:
        assert len(list(container.decode(video=0))) == 11
    assert len(list((tmp_path / 'out' / 'panoptic').iterdir())) == 11


@pytest.mark.parametrize(
    'name, content, message',
    [
        ('missing.mp4', None, 'there is no video file'),
        ('text.mp4', 'hello', 'cannot be read as a video'),
        ('empty', 'folder', 'contains no image'),
    ],
)
def test_input_that_is_no_video(trained, tmp_path, name, content, message):
    _, config, checkpoint = trained
    path = tmp_path / name
    if content == 'folder':
        path.mkdir()
    elif content:
        path.write_text(content)
    text = call('demo/video_demo.py', path, config, checkpoint, '--out', tmp_path / 'out', fails=True)
    assert f'error: {path}' in text or 'error: there is no video file' in text
    assert message in text and 'Traceback' not in text and not (tmp_path / 'out').exists()


def test_official_weights_are_converted(tmp_path):
    text = call(
        'tools/model_converters/detectron2_to_mmdvis.py',
        DATA / 'parity' / 'dvis_swin' / 'official_state_dict.npz',
        tmp_path / 'dvis.pth',
    )
    assert '324 renamed, 6 dropped, 0 left over' in text
    assert 'dropped  criterion.empty_weight: a constant of the loss' in text
    state = torch.load(tmp_path / 'dvis.pth', weights_only=True)['state_dict']
    assert len(state) == 324 and {name.split('.')[0] for name in state} == {'segmenter', 'tracker', 'refiner'}


def test_leftovers_are_an_error_unless_named(tmp_path):
    torch.save(dict(model={'tracker.decoder_norm.bias': torch.ones(2), 'extra.x': torch.ones(1)}), tmp_path / 'a.pth')
    tool = 'tools/model_converters/detectron2_to_mmdvis.py'
    text = call(tool, tmp_path / 'a.pth', tmp_path / 'b.pth', fails=True)
    assert 'such as extra.x; nothing was written' in text and not (tmp_path / 'b.pth').exists()
    assert '1 left over' in call(tool, tmp_path / 'a.pth', tmp_path / 'b.pth', '--allow-leftover', 'extra.')


def test_mmdets_weights_are_converted(tmp_path):
    torch.save(
        dict(state_dict={'backbone.conv1.weight': torch.ones(2), 'panoptic_head.cls_embed.bias': torch.ones(3)}),
        tmp_path / 'mmdet.pth',
    )
    text = call('tools/model_converters/mmdet_to_mmdvis.py', tmp_path / 'mmdet.pth', tmp_path / 'ours.pth')
    assert '2 renamed, 0 dropped, 0 left over' in text and f'wrote {tmp_path / "ours.pth"}' in text
    assert set(read_checkpoint(tmp_path / 'ours.pth')['state_dict']) == {
        'segmenter.backbone.conv1.weight',
        'segmenter.cls_embed.bias',
    }


def test_parity_is_checked(tmp_path):
    folder = DATA / 'parity' / 'dvis_plus'
    text = call('tools/analysis_tools/check_parity.py', folder)
    assert text.count('ok   ') == 21 and 'FAIL' not in text and str(folder) in text
    text = call('tools/analysis_tools/check_parity.py', folder, tmp_path, fails=True)
    assert (
        text.count('ok   ') == 21
        and f'FAIL {tmp_path} cannot be compared: ValueError: {tmp_path} contains no fixtures' in text
    )


@pytest.mark.slow
def test_stages_are_chained(trained, toy_root, tmp_path):
    configs = [
        tiny_config.write(tmp_path, stage, toy_root, load_from='nowhere.pth' if stage != 'minvis' else None)
        for stage in ('minvis', 'online', 'offline')
    ]
    text = call('tools/train_stages.py', *configs, '--work-dir', tmp_path / 'stages')
    assert f'last checkpoint: {tmp_path / "stages" / "offline" / "iter_2.pth"}' in text
    assert 'there is no config file none.py' in call('tools/train_stages.py', configs[0], 'none.py', fails=True)


@pytest.mark.slow
def test_two_processes_train_and_score_like_one(trained, toy_root, tmp_path):
    """With three videos on two processes, no video is counted twice."""
    folder, config, checkpoint = trained
    call('tools/dist_train.sh', config, 2, '--work-dir', tmp_path / 'two', processes=True)
    assert (tmp_path / 'two' / 'iter_2.pth').exists()
    figures = []
    for name, command in (
        ('one', ['tools/test.py', config, checkpoint]),
        ('two', ['tools/dist_test.sh', config, checkpoint, 2]),
    ):
        call(*command, '--work-dir', tmp_path / 'test', '--metrics', tmp_path / f'{name}.json', processes=True)
        figures.append(json.loads((tmp_path / f'{name}.json').read_text()))
    assert figures[0].keys() == figures[1].keys()
    for name, value in figures[0].items():
        np.testing.assert_allclose(value, figures[1][name], atol=1e-9, err_msg=name)


@pytest.mark.slow
def test_a_later_stage_trains_on_two_processes(trained, toy_root, tmp_path):
    """Frozen weights stay unchanged, and every parameter of the trained stage is updated.

    DistributedDataParallel would fail for a trainable parameter without a gradient.
    """
    _, _, checkpoint = trained
    config = tiny_config.write(tmp_path, 'online', toy_root, load_from=checkpoint)
    call('tools/dist_train.sh', config, 2, '--work-dir', tmp_path / 'online', processes=True)
    before, after = (read_checkpoint(path)['state_dict'] for path in (checkpoint, tmp_path / 'online' / 'iter_2.pth'))
    assert all(torch.equal(after[name], value) for name, value in before.items())
    moments = read_checkpoint(tmp_path / 'online' / 'iter_2.pth')['optimizer']['state']
    assert {name.split('.')[0] for name in set(after) - set(before)} == {'tracker'}
    assert moments and all(state['exp_avg'].abs().sum() > 0 for state in moments.values())


@pytest.mark.slow
def test_results_are_packed_and_score_the_same(trained, toy_root, tmp_path):
    """The submission gives the scores that the test run reports."""
    folder, config, checkpoint = trained
    text = call(
        'tools/test.py',
        config,
        checkpoint,
        '--work-dir',
        folder / 'test',
        '--format-only',
        tmp_path / 'out',
        '--cfg-options',
        'model.postprocessor.score_thr=0.05',
        'model.postprocessor.overlap_thr=0.1',
    )
    call(
        'tools/test.py',
        config,
        checkpoint,
        '--work-dir',
        folder / 'test',
        '--metrics',
        tmp_path / 'm.json',
        '--cfg-options',
        'model.postprocessor.score_thr=0.05',
        'model.postprocessor.overlap_thr=0.1',
    )
    assert 'videos: 3' in text and not (tmp_path / 'out.part').exists()
    with zipfile.ZipFile(tmp_path / 'out' / 'submission.zip') as archive:
        assert len(archive.namelist()) == 1 + 3 * 7 and 'pred.json' in archive.namelist()
    for task in ('vpq', 'stq'):
        call(
            'tools/score.py',
            task,
            '--gt-json',
            toy_root / 'panoptic_gt_VIPSeg_val.json',
            '--gt-dir',
            toy_root / 'panomasksRGB',
            '--pred',
            tmp_path / 'out',
            '--json',
            tmp_path / f'{task}.json',
        )
    during, after = json.loads((tmp_path / 'm.json').read_text()), {}
    for task in ('vpq', 'stq'):
        after.update(json.loads((tmp_path / f'{task}.json').read_text()))
    for name, value in after.items():
        np.testing.assert_allclose(value, during[name], atol=1e-12, err_msg=name)
    assert 'exists and is not empty' in call(
        'tools/test.py',
        config,
        checkpoint,
        '--work-dir',
        folder / 'test',
        '--format-only',
        tmp_path / 'out',
        fails=True,
    )


def test_a_model_is_published_without_what_training_needs(trained, tmp_path):
    _, _, checkpoint = trained
    text = call('tools/model_converters/publish_model.py', checkpoint, tmp_path / 'zoo' / 'model.pth')
    (path,) = (tmp_path / 'zoo').iterdir()
    assert re.fullmatch(r'model-[0-9a-f]{8}\.pth', path.name) and str(path) in text
    before, after = read_checkpoint(checkpoint), read_checkpoint(path)
    assert set(after) == {'meta', 'state_dict'} and set(after['meta']) >= {'cfg', 'dataset_meta', 'switches'}
    assert init_model(path).classes.names == tuple(after['meta']['dataset_meta']['classes'])
    assert 'optimizer' in before and path.stat().st_size < 0.6 * checkpoint.stat().st_size
    assert all(torch.equal(before['state_dict'][name], value) for name, value in after['state_dict'].items())
    assert 'there is no checkpoint file' in call(
        'tools/model_converters/publish_model.py', 'none.pth', tmp_path / 'x.pth', fails=True
    )


def test_the_limit_of_the_long_edge_grows_with_the_short_one():
    from mmdvis.engine.launch import fusion_passes

    assert fusion_passes([720, 800], False, 720, 1333) == [
        dict(short_edge=720, max_edge=1333, flip=False),
        dict(short_edge=800, max_edge=1481, flip=False),
    ]
    assert fusion_passes([None], True) == [dict(short_edge=None, max_edge=None, flip=k) for k in (False, True)]
    assert fusion_passes([480], False, 720, 1333)[0]['max_edge'] == 1333
