"""Keyframes: results moved along the flow, and frames that must be processed."""

import numpy as np
import pytest
import torch
from helpers import tiny
from scipy import ndimage

from mmdvis.apis import VideoStream
from mmdvis.inference import FrameStream, KeyframeStream
from mmdvis.inference.motion import estimate_motion, moved_map, moved_result
from mmdvis.io import ArrayFrames
from mmdvis.models import DISFlow
from mmdvis.results import ClassInfo, VideoInstances, VideoPanoptic, VideoSemantic, encode_mask
from mmdvis.structures import Segment

HEIGHT, WIDTH = 120, 160


def texture(height=HEIGHT, width=WIDTH, seed=0):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random((height, width, 3)), (3, 3, 0))
    low, high = noise.min(), noise.max()
    return ((noise - low) / (high - low) * 255).astype(np.uint8)


def scene(step, speed=(3, 1)):
    """A textured square of 40 pixels that moves over a textured background, and its mask."""
    picture, mask = texture(seed=1), np.zeros((HEIGHT, WIDTH), bool)
    top, left = 30 + step * speed[1], 40 + step * speed[0]
    picture[top : top + 40, left : left + 40] = texture(40, 40, seed=2)
    mask[top : top + 40, left : left + 40] = True
    return picture, mask


def panoptic_video(mask):
    ids = torch.from_numpy(np.where(mask, 7, 3).astype(np.int32))[None]
    segments = (Segment(3, -1, 1, False, 0.8), Segment(7, 6, 0, True, 0.9))
    return VideoPanoptic(ids, segments, ClassInfo.numbered(2, 1))


def panoptic(mask):
    return panoptic_video(mask).frame(0)


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize('distance', [1, 2, 3])
def test_a_mask_follows_its_object(distance):
    (first, mask), (second, expected) = scene(0), scene(distance)
    motion = estimate_motion(second, first)
    moved = moved_result(panoptic(mask), motion)
    found = moved.objects[1]
    assert iou(found.mask, expected) > 0.88 > iou(mask, expected)
    assert (found.id, found.label, found.score, found.is_thing) == (7, 0, 0.9, True)
    x1, y1, x2, y2 = found.box
    assert found.area == int(found.mask.sum()) and found.mask[y1:y2, x1:x2].sum() == found.area
    assert motion.confidence(panoptic(mask)) > 0.7


@pytest.mark.parametrize('kind', ['instances', 'classes'])
def test_results_of_all_tasks_move(kind):
    (first, mask), (second, expected) = scene(0), scene(2)
    motion = estimate_motion(second, first)
    if kind == 'classes':
        result = VideoSemantic(torch.from_numpy(mask.astype(np.uint8))[None], ClassInfo.numbered(2)).frame(0)
        moved = moved_result(result, motion)
        assert iou(moved.label_map == 1, expected) > 0.85 and moved.label_map.dtype == np.uint8
        return
    codes = [[encode_mask(mask)], [encode_mask(np.roll(mask, 30, 1))]]
    numbers = torch.tensor([0.9, 0.5]), torch.tensor([0, 0]), torch.tensor([4, 5])
    result = VideoInstances(*numbers, codes, ClassInfo.numbered(1), 1, mask.shape).frame(0)
    moved = moved_result(result, motion)
    assert [s.id for s in moved.objects] == [4, 5] and iou(moved.objects[0].mask, expected) > 0.85


def test_a_still_picture_and_a_larger_size():
    picture = texture(800, 600)
    motion = estimate_motion(picture, picture)
    mask = np.zeros((800, 600), bool)
    mask[100:300, 200:400] = True
    assert motion.is_seen.shape == (800, 600) and motion.is_seen.mean() > 0.99
    assert iou(moved_map(mask, motion), mask) > 0.99


@pytest.mark.parametrize('size, scale', [((216, 384), 360 / 216), ((96, 160), 2), ((360, 640), 1), ((720, 1280), 1)])
def test_the_flow_is_estimated_at_360_pixels(size, scale, monkeypatch):
    sizes, estimate = [], DISFlow.estimate
    monkeypatch.setattr(DISFlow, 'estimate', lambda self, *given: sizes.append(estimate(self, *given)) or sizes[-1])
    motion = estimate_motion(*[texture(*size, seed=3)] * 2)
    assert motion.places[0].shape == motion.is_seen.shape == size
    edge = min(size[0], 360)
    assert [field.shape for field in sizes] == [(round(edge * scale), round(edge * size[1] / size[0] * scale), 2)] * 2


def test_small_and_fast_objects_keep_their_outline():
    """An object of 12 pixels that moves by 6 pixels."""
    (first, _), (second, _) = scene(0), scene(2)
    mask, expected = np.zeros((2, HEIGHT, WIDTH), bool)
    for picture, area, step in ((first, mask, 0), (second, expected, 1)):
        top, left = 90 - 3 * step, 10 + 5 * step
        picture[top : top + 12, left : left + 12] = texture(12, 12, seed=5) // 2 + 120
        area[top : top + 12, left : left + 12] = True
    assert iou(moved_map(mask, estimate_motion(second, first)), expected) > 0.85


def test_what_looks_different_is_not_confident():
    (first, mask), (second, _) = scene(0), scene(12, (6, 3))  # 72 pixels: the object is lost
    assert estimate_motion(second, first).confidence(panoptic(mask)) < 0.5
    assert estimate_motion(texture(seed=8), texture(seed=9)).confidence(panoptic(mask)) < 0.5


def video(number=9, cut=None, speed=(1, 1)):
    frames = [scene(t, speed)[0] if cut is None or t < cut else 255 - texture(seed=7) // 2 for t in range(number)]
    return ArrayFrames(torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2))


def counted(model):
    calls = []
    model.segmenter.register_forward_pre_hook(lambda module, given: calls.append(given[0].shape[1]))
    return calls


@pytest.mark.parametrize('distance, expected', [(1, list(range(9))), (2, [0, 2, 4, 6, 8]), (4, [0, 4, 8]), (20, [0])])
def test_every_nth_frame_is_processed(distance, expected):
    model = tiny.model('dvis').eval()
    calls, stream = counted(model), KeyframeStream(VideoStream(model), distance, confidence=0.0)
    frames = list(stream.frames(video()))
    assert stream.processed == expected and len(calls) == len(expected) and len(frames) == 9
    whole = [result for _, result in VideoStream(tiny.model('dvis').eval(), clip_len=1).frames(video())]
    first = frames[0][1]
    assert np.array_equal(first.id_map, whole[0].id_map) and first.objects == whole[0].objects
    if distance == 1:
        assert all(np.array_equal(a.id_map, b.id_map) for (_, a), b in zip(frames, whole))


def test_a_new_scene_and_a_lost_object_are_processed():
    model = tiny.model('dvis').eval()
    stream = KeyframeStream(VideoStream(model, on_cut='reset'), 6)
    results = [result for _, result in stream.frames(video(9, cut=3))]
    assert stream.cuts == [3] and 3 in stream.processed
    before = {s.id for result in results[:3] for s in result.objects}
    assert not before & {s.id for s in results[3].objects}
    loose, strict = (KeyframeStream(VideoStream(model), 6, confidence=share) for share in (0.5, 1.0))
    for stream in (loose, strict):
        list(stream.frames(video(4, speed=(3, 2))))
    assert loose.processed == [0] and strict.processed == [0, 1, 2, 3]


def test_single_frames_and_clips_are_the_same_stream():
    one, clips = (KeyframeStream(VideoStream(tiny.model('dvis').eval()), 3) for _ in range(2))
    source = video(7)
    singles = [one.step(source.read(t, t + 1)[0].permute(1, 2, 0).numpy()) for t in range(7)]
    parts = [clips.push(source.read(0, 4)), clips.push(source.read(4, 7))]
    together = [part.frame(k) for part, number in zip(parts, (4, 3)) for k in range(number)]
    assert one.processed == clips.processed
    assert all(np.array_equal(a.id_map, b.id_map) for a, b in zip(singles, together))


@pytest.mark.parametrize(
    'options, message', [((0,), 'keyframes must be at least 1'), ((2, 1.5), 'from 0 to 1, got 1.5')]
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        KeyframeStream(VideoStream(tiny.model('dvis')), *options)


def test_keyframes_from_the_command_line_and_the_api(tmp_path, capsys):
    from mmdvis.apis import load
    from mmdvis.cli.run import main
    from mmdvis.errors import BadInputError
    from mmdvis.io import VideoWriter

    with VideoWriter(tmp_path / 'a.mp4', 10.0) as writer:
        for t in range(5):
            writer.write(scene(t, (1, 1))[0])
    words = [str(tmp_path / 'a.mp4'), '--model', 'dvis-offline_toy', '--save', 'json']
    assert main([*words, '--out', str(tmp_path / 'out'), '--keyframes', '2']) == 0
    assert (tmp_path / 'out' / 'a' / 'result.json').exists()
    for wrong in (['--keyframes', '0'], ['--keyframes', '2', '--offline']):
        with pytest.raises(SystemExit, match='--keyframes must be at least 1, and 1 with --offline'):
            main([*words, '--out', str(tmp_path / 'no'), *wrong])
    model = load('dvis-offline_toy')
    calls = counted(model.model)
    assert len(list(model(str(tmp_path / 'a.mp4'), keyframes=3))) == 5 and len(calls) < 5
    with pytest.raises(BadInputError, match='keyframes are for streams'):
        model(str(tmp_path / 'a.mp4'), keyframes=3, offline=True)
    stream = model.stream(keyframes=2)
    assert [stream.push(scene(t, (1, 1))[0]).index for t in range(3)] == [0, 1, 2]


def test_the_tool_prints_scores_and_speed(toy_root, monkeypatch, capsys):
    from helpers.commands import ROOT, load

    tool = load('tools/analysis_tools/keyframes.py')
    weights = next((ROOT / 'mmdvis/checkpoints/embedded').glob('dvis_toy-*.pth'))
    words = ['keyframes.py', str(ROOT / 'configs/toy/dvis-offline_r18_1xb3-t20_toy.py'), str(weights)]
    monkeypatch.setenv('TOY_DATA', str(toy_root))
    monkeypatch.setattr('sys.argv', [*words, '--keyframes', '1', '3'])
    tool.main()
    lines = [line.split('|')[1:] for line in capsys.readouterr().out.splitlines() if line.startswith('|')]
    assert [cell.strip() for cell in lines[0]][:5] == ['distance', 'VPQ', 'VPQ_Th', 'AQ_corrected', 'processed']
    assert lines[1][4].strip() == '100.0' and 0 < float(lines[2][1]) <= 100
    monkeypatch.setattr('sys.argv', [*words, '--keyframes', '3', '--confidence', '0'])
    tool.main()
    last = capsys.readouterr().out.splitlines()[-2]
    assert float(last.split('|')[5]) < float(lines[2][4])  # without the check, the model processes fewer frames


def test_a_change_of_size_begins_with_a_keyframe():
    stream = KeyframeStream(VideoStream(tiny.model('dvis').eval()), 5)
    first = scene(0)[0]
    sizes = [stream.step(image).image_size for image in (first, first[::2, ::2], first[::2, ::2])]
    assert sizes == [(120, 160), (60, 80), (60, 80)] and stream.processed[:2] == [0, 1]


@pytest.mark.parametrize('size', [(48, 37), (48, 61), (48, 160), (216, 384), (720, 1280)])
def test_flow_has_the_scale_of_the_frame(size):
    picture = texture(size[0] + 4, size[1] + 8)
    motion = estimate_motion(picture[2:-2, 8:], picture[:-4, 4:-4])
    y, x = np.mgrid[: size[0], : size[1]]
    inner = slice(12, -12), slice(12, -12)
    assert np.median((motion.places[0] - x)[inner]) == pytest.approx(4, abs=0.25)
    assert np.median((motion.places[1] - y)[inner]) == pytest.approx(2, abs=0.25)


def test_the_array_of_a_frame_may_be_used_again(monkeypatch):
    """Reading all frames into the same array gives the same results as new arrays."""
    images = [scene(step)[0] for step in range(4)]
    results = []
    for is_reused in (False, True):
        clips = VideoStream(tiny.model('dvis').eval())
        monkeypatch.setattr(clips, 'push', lambda frames: panoptic_video(scene(0)[1]))
        stream = FrameStream(KeyframeStream(clips, 4, confidence=0.0))
        buffer, found = np.empty_like(images[0]), []
        for image in images:
            buffer[:] = image
            found.append(stream.push(buffer if is_reused else image))
        results.append(found)
    assert results[0][3].objects[1].box != results[0][0].objects[1].box
    for one, other, image in zip(*results, images):
        assert [s.box for s in one.objects] == [s.box for s in other.objects]
        assert np.array_equal(other.image, image)
