"""The demo and ``--show-dir`` on models of the three tasks."""

import json
import sys

import av
import numpy as np
import pytest
import torch
from helpers import tiny
from helpers.commands import load
from mmengine.config import Config
from PIL import Image

from mmdvis.apis import OfflineVideo, init_model, segment_video
from mmdvis.io import VideoWriter, open_frames
from mmdvis.registry import DATASETS, MODELS
from mmdvis.visualization import VideoVisualizationHook

NAMES = ('disc', 'star', 'sky', 'hill', 'sea')
TASKS = dict(
    vps=tiny.PANOPTIC, vis=dict(type='InstancePostprocessor', max_num=4), vss=dict(type='SemanticPostprocessor')
)


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
    """Two folders of frames."""
    root = tmp_path_factory.mktemp('clips')
    ramp = np.linspace(0, 200, 64, dtype=np.uint8)[None, :, None] + np.zeros((48, 1, 3), np.uint8)
    for name in ('first', 'second'):
        (root / name).mkdir()
        for k in range(3):
            Image.fromarray(np.roll(ramp, 9 * k, axis=1)).save(root / name / f'{k}.png')
    return root


def write_checkpoint(folder, task, clips):
    """A checkpoint that contains its config and its class names, as the runner writes it; returns both files."""
    model = dict(
        type='DVIS',
        num_classes=tiny.CLASSES,
        segmenter=tiny.SEGMENTER,
        tracker=tiny.TRACKERS['dvis'],
        postprocessor=TASKS[task],
    )
    dataset = dict(type='ImageFolderVideoDataset', data_root=str(clips), test=dict(short_edge=32, max_edge=1333))
    config = Config(
        dict(
            default_scope='mmdvis',
            model=model,
            test_cfg=dict(type='TestLoop'),
            test_evaluator=[],
            test_dataloader=dict(
                batch_size=1,
                num_workers=0,
                dataset=dataset,
                sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
            ),
        )
    )
    torch.manual_seed(0)
    meta = dict(cfg=config.pretty_text, dataset_meta=dict(classes=NAMES, num_things=3 if task == 'vps' else 2))
    torch.save(dict(state_dict=MODELS.build(model).state_dict(), meta=meta), folder / 'model.pth')
    config.test_evaluator = [dict(type='SubmissionWriter', out_dir=str(folder / 'submission'))]
    config.dump(folder / 'config.py')
    return folder / 'config.py', folder / 'model.pth'


def pictures(folder):
    """Return the frames of a folder (H, W, 3)."""
    source = open_frames(folder)
    return [source.read(t, t + 1)[0].permute(1, 2, 0).numpy() for t in range(len(source))]


def decode(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)]


@pytest.mark.parametrize('task', TASKS)
def test_the_demo_and_show_dir_draw_the_same_video(task, clips, tmp_path, monkeypatch):
    config, checkpoint = write_checkpoint(tmp_path, task, clips)
    demo = f'{clips / "first"} {config} {checkpoint} --out {tmp_path / "out"} --offline --exact --short-edge 32 --fps 6'
    test = f'{config} {checkpoint} --work-dir {tmp_path / "work"} --show-dir {tmp_path / "shown"}'
    for tool, arguments in (('demo/video_demo.py', demo), ('tools/test.py', test)):
        monkeypatch.setattr(sys, 'argv', [tool, *arguments.split()])
        assert not load(tool).main()
    assert (tmp_path / 'submission').is_dir()
    result = json.loads((tmp_path / 'out' / 'result.json').read_text())
    assert result['classes'] == list(NAMES) and result['num_frames'] == 3
    assert {info['category'] for frame in result['frames'] for info in frame['segments_info']} <= set(NAMES)
    assert any(frame['segments_info'] for frame in result['frames'])
    videos = decode(tmp_path / 'out' / 'video.mp4'), decode(tmp_path / 'shown' / 'first.mp4')
    assert len(videos[0]) == len(videos[1]) == 3 and videos[0][0].shape == (48, 64, 3)
    for ours, theirs in zip(*videos):  # the encoder itself is not deterministic
        assert np.abs(ours.astype(int) - theirs).mean() < 3
    for ours, picture in zip(videos[0], pictures(clips / 'first')):
        assert np.abs(ours.astype(int) - picture).mean() > 3  # something is drawn


@pytest.mark.parametrize('task', TASKS)
def test_both_give_the_encoder_the_same_pixels(task, clips, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(VideoWriter, 'write', lambda self, frame, time=None: drawn.append(frame.copy()))
    config, checkpoint = write_checkpoint(tmp_path, task, clips)
    model = init_model(config, checkpoint)
    sample = DATASETS.build(Config.fromfile(config).test_dataloader.dataset)[0]
    batch = dict(inputs=[sample['inputs']], data_samples=[sample['data_samples']])
    VideoVisualizationHook(str(tmp_path / 'shown')).after_test_iter(None, 0, batch, model.test_step(batch))
    offline = OfflineVideo(model, 32, 1333, progress=False, store='exact')
    segment_video(offline, open_frames(clips / 'first'), tmp_path / 'out', progress=False)
    assert len(drawn) == 6
    for shown, demo, picture in zip(drawn[:3], drawn[3:], pictures(clips / 'first')):
        assert np.array_equal(shown, demo) and not np.array_equal(shown, picture)


def test_a_checkpoint_alone_is_enough(clips, tmp_path):
    _, checkpoint = write_checkpoint(tmp_path, 'vis', clips)
    model = init_model(checkpoint)
    assert model.classes.names == NAMES and type(model.postprocessor).__name__ == 'InstancePostprocessor'


def test_the_demo_needs_no_config_and_explains_a_threshold(clips, tmp_path, monkeypatch, capsys):
    _, checkpoint = write_checkpoint(tmp_path, 'vis', clips)
    arguments = [clips / 'first', checkpoint, '--out', tmp_path / 'out', '--short-edge', '32']
    monkeypatch.setattr(sys, 'argv', ['demo', *map(str, arguments)])
    assert load('demo/video_demo.py').main() == 0
    assert (tmp_path / 'out' / 'video.mp4').exists()
    monkeypatch.setattr(sys, 'argv', [*sys.argv, '--score-thr', '0.5'])
    assert load('demo/video_demo.py').main() == 1
    assert 'error: --score-thr applies to panoptic models only' in capsys.readouterr().err
