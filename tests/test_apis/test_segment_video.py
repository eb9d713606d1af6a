"""Segmentation of a video file, from frames to written results."""

import json

import av
import numpy as np
import pytest
import torch
from helpers import tiny
from mmengine.config import Config
from PIL import Image
from pycocotools import mask as coco_mask

from mmdvis.apis import OfflineVideo, VideoStream, init_model, segment_video
from mmdvis.inference.model import classes_of_test_set
from mmdvis.io import ArrayFrames, FileFrames

CLASSES = tuple('abcde')
META = dict(classes=CLASSES, category_ids=(3, 1, 4, 15, 9), num_things=3)
RESULTS = dict(
    vps=tiny.PANOPTIC, vis=dict(type='InstancePostprocessor', max_num=4), vss=dict(type='SemanticPostprocessor')
)


def source(num_frames=7, size=(60, 91), fps=12.0):
    g = torch.Generator().manual_seed(0)
    return ArrayFrames(torch.randint(0, 256, (num_frames, 3, *size), generator=g, dtype=torch.uint8), fps=fps)


def stream(tracker='dvis', refiner=False, task='vps', **options):
    return VideoStream(tiny.model(tracker, refiner, RESULTS[task], dataset_meta=META).eval(), **options)


def decode(path):
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        frames = [frame.to_ndarray(format='rgb24') for frame in container.decode(video)]
        return frames, float(video.average_rate), video.codec_context.name, video.codec_context.pix_fmt


@pytest.mark.parametrize('refiner', [False, True])
def test_everything_is_written(tmp_path, refiner):
    written = segment_video(stream(refiner=refiner, clip_len=3), source(), tmp_path / 'out', progress=False)
    frames, fps, codec, pixels = decode(written['video.mp4'])
    assert (len(frames), fps, codec, pixels) == (7, 12.0, 'h264', 'yuv420p')
    assert frames[0].shape == (60, 92, 3)  # the codec requires even side lengths
    result = json.loads(written['result.json'].read_text())
    assert result['num_frames'] == 7 == len(result['frames']) and result['fps'] == 12.0
    for frame in result['frames']:
        rgb = np.asarray(Image.open(tmp_path / 'out' / 'panoptic' / frame['file_name'])).astype(int)
        ids = rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]
        assert ids.shape == (60, 91)
        listed = {s['id']: s['area'] for s in frame['segments_info']}
        areas = dict(zip(*np.unique(ids, return_counts=True)))
        areas.pop(0, None)
        assert listed == areas
        assert all(
            s['category'] == CLASSES[META['category_ids'].index(s['category_id'])] for s in frame['segments_info']
        )
    assert any(frame['segments_info'] for frame in result['frames'])
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == ['panoptic', 'result.json', 'video.mp4']


def test_an_online_stream_does_not_depend_on_how_it_is_cut():
    runs = [[result for _, result in stream(clip_len=length).frames(source())] for length in (1, 3, 7)]
    assert [len(run) for run in runs] == [7, 7, 7]
    for run in runs[1:]:
        for result, other in zip(runs[0], run):
            assert (result.id_map != other.id_map).mean() < 1e-3
            assert [(s.id, s.label) for s in result.objects] == [(s.id, s.label) for s in other.objects]
            assert [s.score for s in result.objects] == pytest.approx([s.score for s in other.objects], abs=1e-5)
    scores = {s.score for result in runs[2] for s in result.objects if s.id == max(x.id for x in result.objects)}
    assert len(scores) > 1  # scores of a frame depend on earlier frames only, so they change over time


@pytest.mark.parametrize('offline', [False, True])
@pytest.mark.parametrize('task', ['vis', 'vss'])
def test_instances_and_labels_are_written(tmp_path, task, offline):
    model = tiny.model('dvis', False, RESULTS[task], dataset_meta=META).eval()
    feed = OfflineVideo(model, progress=False) if offline else VideoStream(model, clip_len=7)
    written = segment_video(feed, source(), tmp_path / 'out', progress=False)
    frames, *_ = decode(written['video.mp4'])
    result = json.loads(written['result.json'].read_text())
    assert len(frames) == len(result['frames']) == 7 and frames[0].shape == (60, 92, 3)
    infos = [info for frame in result['frames'] for info in frame['segments_info']]
    assert infos and all(CLASSES[META['category_ids'].index(info['category_id'])] == info['category'] for info in infos)
    if task == 'vis':
        masks = [coco_mask.decode(dict(info['segmentation'])) for info in infos]
        assert all(mask.shape == (60, 91) and mask.sum() == info['area'] > 0 for mask, info in zip(masks, infos))
        assert sorted(written) == ['instance', 'result.json', 'video.mp4']
        return
    for frame in result['frames']:
        labels = np.asarray(Image.open(tmp_path / 'out' / 'semantic' / frame['file_name']))
        areas = {info['category_id']: info['area'] for info in frame['segments_info']}
        assert labels.shape == (60, 91) and dict(zip(*np.unique(labels, return_counts=True))) == areas


def test_identities_go_on_over_clips_with_a_refiner():
    """The refiner processes one clip at a time; the tracker state is carried over, so rows keep their ids."""
    feed, other = stream(refiner=True), stream(refiner=True)
    frames = source(6).frames
    feed.push(frames[:3])
    feed.push(frames[3:])
    other.push(frames)
    torch.testing.assert_close(
        feed.state.chain.tracker.outputs, other.state.chain.tracker.outputs, atol=1e-4, rtol=1e-4
    )
    assert feed.state.num_frames == 6


def test_the_state_does_not_grow():
    def numbers(state):
        tensors = [*vars(state.chain.tracker).values(), state.logit_sum, state.tracked_sum]
        return sum(t.numel() for t in tensors)

    feed, sizes = stream(), []
    for _ in range(4):
        feed.push(source(3).frames)
        sizes.append(numbers(feed.state))
    assert len(set(sizes)) == 1


def test_results_come_at_the_size_of_the_frames():
    result = stream(short_edge=32).push(source(2).frames)
    assert result.id_map.shape == (2, 60, 91)


def test_a_push_without_frames_is_refused():
    with pytest.raises(ValueError, match='at least one frame, got none'):
        stream().push(source(2).frames[:0])


def test_a_failure_leaves_nothing_half_written(tmp_path):
    folder = tmp_path / 'frames'
    folder.mkdir()
    for k in range(5):
        Image.new('RGB', (64, 48 if k < 4 else 40)).save(folder / f'{k}.png')
    out = tmp_path / 'out'
    out.mkdir()
    (out / 'result.json').write_text('of an earlier run')
    with pytest.raises(ValueError, match=r'frame 4 \(.*4.png\) is \(40, 64\)'):
        segment_video(stream(clip_len=2), FileFrames.from_folder(folder), out, progress=False)
    assert [p.name for p in out.iterdir()] == ['result.json']
    assert (out / 'result.json').read_text() == 'of an earlier run'
    with pytest.raises(ValueError):
        segment_video(stream(clip_len=2), FileFrames.from_folder(folder), tmp_path / 'new', progress=False)
    assert not (tmp_path / 'new').exists()


CONFIG = 'model = {model!r}\ndefault_scope = "mmdvis"\n'


def write_model(folder):
    config = dict(
        type='DVIS',
        num_classes=tiny.CLASSES,
        segmenter=tiny.SEGMENTER,
        tracker=tiny.TRACKERS['dvis'],
        postprocessor=tiny.PANOPTIC,
    )
    (folder / 'config.py').write_text(CONFIG.format(model=config))
    content = dict(state_dict=tiny.model('dvis').state_dict(), meta=dict(dataset_meta=dict(classes=CLASSES)))
    torch.save(content, folder / 'weights.pth')
    return content


def test_a_model_is_built_from_its_files(tmp_path):
    write_model(tmp_path)
    model = init_model(
        str(tmp_path / 'config.py'), str(tmp_path / 'weights.pth'), options={'model.postprocessor.score_thr': 0.7}
    )
    assert not model.training and model.classes.names == CLASSES
    assert model.postprocessor.score_thr == 0.7
    expected = tiny.model('dvis').state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    'change, message',
    [
        (
            lambda c: c['state_dict'].pop('tracker.cls_embed.weight'),
            'weights.pth does not fit: 1 weights .* tracker.cls_embed.weight is missing',
        ),
        (
            lambda c: c['state_dict'].update({'tracker.cls_embed.bias': torch.zeros(99)}),
            r'tracker.cls_embed.bias is \(99,\) and should be \(6,\)',
        ),
    ],
)
def test_checkpoints_that_do_not_do(tmp_path, change, message):
    content = write_model(tmp_path)
    change(content)
    torch.save(content, tmp_path / 'weights.pth')
    with pytest.raises(ValueError, match=message):
        init_model(str(tmp_path / 'config.py'), str(tmp_path / 'weights.pth'))


def test_converted_weights_have_numbered_classes_and_unused_ones_are_named(tmp_path):
    content = write_model(tmp_path)
    content.pop('meta')
    content['state_dict']['refiner.x'] = torch.zeros(1)
    torch.save(content, tmp_path / 'weights.pth')
    with pytest.warns(UserWarning, match='weights.pth: the weights of the later stage refiner were dropped'):
        model = init_model(str(tmp_path / 'config.py'), str(tmp_path / 'weights.pth'))
    assert model.classes.names == tuple(f'class {k}' for k in range(5)) and model.classes.category_ids == (
        0,
        1,
        2,
        3,
        4,
    )


@pytest.mark.parametrize(
    'dataset, number, first',
    [
        (dict(type='VIPSegDataset'), 124, 'door'),
        (dict(type='VSPWDataset'), 124, 'door'),
        (dict(type='OVISDataset'), 25, 'Person'),
        (dict(type='YouTubeVISDataset', version=2019), 40, 'person'),
        (dict(type='YouTubeVISDataset'), 40, 'airplane'),
        (dict(type='VIPSegDataset'), 11, 'class 0'),
        (dict(type='CocoPanopticClipDataset'), 133, 'person'),
        (dict(type='CocoInstanceClipDataset'), 80, 'person'),
        (dict(type='CocoInstanceClipDataset', target='OVIS'), 25, 'Person'),
        (dict(type='CocoPanopticClipDataset'), 80, 'class 0'),
    ],
)
def test_converted_weights_have_the_classes_of_the_test_set(dataset, number, first):
    settings = Config(dict(model=dict(num_classes=number), test_dataloader=dict(dataset=dataset)))
    meta = classes_of_test_set(settings)
    if first == 'class 0':
        assert meta is None
    else:
        assert len(meta['classes']) == len(meta['category_ids']) == number and meta['classes'][0] == first
