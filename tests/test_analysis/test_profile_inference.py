"""The plain path gives the same results, and the parts of a profile add up to the total."""

import gc
import json
import math
import sys
from functools import partial

import pytest
import torch
from helpers import tiny
from helpers.commands import load

from mmdvis.analysis.flops import model_cost
from mmdvis.analysis.forced_segments import force_segments
from mmdvis.analysis.profile_inference import (
    StopWatch,
    Throughput,
    best_of,
    lower_bounds,
    measure_throughput,
    peak_memory,
    product_rate,
    profile_inference,
    random_video,
    usage_table,
)
from mmdvis.apis import OfflineVideo, VideoStream, optimize_for_inference
from mmdvis.inference.offline_video import memory_need
from mmdvis.io import STORES, ArrayFrames, DiskBackedMaps
from mmdvis.results import VideoDataSample
from mmdvis.testing.plain_paths import plain_path


@pytest.mark.parametrize('tracker', ['cosine', 'dvis'])
def test_the_plain_path_ends_where_ours_does(tracker):
    model = tiny.model(tracker, tracker == 'dvis').eval()
    frames = torch.randn(1, 4, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = model(frames)
        with plain_path(model):
            theirs = model(frames)
        again = model(frames)
    for name in ('class_logits', 'mask_embeds', 'mask_features'):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), atol=2e-4, rtol=1e-3)
        assert torch.equal(getattr(ours, name), getattr(again, name))  # the plain path is removed afterwards


@pytest.mark.parametrize(
    'tracker, segmenter', [('cosine', tiny.EOMT), ('fixed', tiny.VIDEOMT)], ids=['eomt', 'videomt']
)
def test_segmenters_without_a_decoder_are_one_component(tracker, segmenter):
    model = tiny.model(tracker, segmenter=segmenter).eval()
    with torch.no_grad():
        profile = profile_inference(model, ArrayFrames(random_video(3, (60, 90))), torch.device('cpu'))
    assert set(profile.seconds) == {'segmenter', 'tracker', 'postprocessor', 'rest', 'all'}
    assert profile.seconds['segmenter'] > 0
    assert set(lower_bounds(model, (60, 90), Throughput(dict(fp32=1e9, bf16=1e9), 1e9), 'fp32')) == {
        'segmenter',
        'postprocessor',
    }


@pytest.mark.parametrize('store', ['exact', 'recompute'])
def test_components_add_up_to_the_whole(store):
    """Recomputed features are attributed to the component that recomputes them, and never counted twice."""
    model = tiny.model('dvis', True, store=store).eval()
    force_segments(model, 3)
    with torch.no_grad():
        profile = profile_inference(model, ArrayFrames(random_video(4, (60, 90))), torch.device('cpu'))
    whole = profile.seconds['all']
    assert sum(profile.seconds.values()) == pytest.approx(2 * whole) and all(s >= 0 for s in profile.seconds.values())
    assert profile.host >= 0 and profile.device == 0
    text = str(usage_table(profile, dict(backbone=0.5), profile))
    assert 'pixel decoder' in text and '500.0' in text and '1.00' in text


def test_floors_are_products_at_the_machines_rate_and_bytes_at_its_bandwidth():
    costs = {cost.name: cost for cost in model_cost(tiny.model('dvis', True), (64, 96))}
    quick_gather = lower_bounds(tiny.model('dvis', True), (64, 96), Throughput(dict(fp32=1e9, bf16=2e9), 1e30), 'fp32')
    assert quick_gather['backbone'] == pytest.approx(2 * costs['backbone'].macs / 1e9)
    samples = (16 * 24 // 4 + 16 * 24 // 16 + 16 * 24 // 64) * 2 * 3 * 4 * 4  # tokens, heads, levels, points, corners
    only_gather = lower_bounds(tiny.model('dvis', True), (64, 96), Throughput(dict(fp32=1e30, bf16=1e30), 1e9), 'fp32')
    assert only_gather['pixel decoder'] == pytest.approx(4 * samples * tiny.WIDTH // 2 / 1e9)
    assert only_gather['backbone'] == pytest.approx(0, abs=1e-12)


def test_rates_are_what_was_done_by_the_time_it_took(monkeypatch):
    seconds = 1e-6
    monkeypatch.setattr('mmdvis.analysis.profile_inference.best_of', lambda run, device: run() is None or seconds)
    machine = measure_throughput(torch.device('cpu'), 64)
    assert (
        machine.products == dict.fromkeys(('fp32', 'bf16', 'int8'), 2 * 64**3 / seconds)
        and machine.gathered == 4 * 40000 * 48 * 32 / seconds
    )


@pytest.mark.parametrize(('rate', 'measured'), [(1e12, [256, 2048]), (1e9, [256])])
def test_slow_products_are_measured_small(rate, measured):
    sizes = []

    def duration(size):
        sizes.append(size)
        return 2 * size**3 / rate

    assert product_rate(duration, 2048) == pytest.approx(rate) and sizes == measured


def test_the_best_run_counts_but_never_the_first(monkeypatch):
    times = iter([0.0, 0.1, 1.0, 3.0, 5.0, 7.0, 9.0, 14.0])
    monkeypatch.setattr('mmdvis.analysis.profile_inference.time.perf_counter', lambda: next(times))
    assert best_of(lambda: None, torch.device('cpu'), 3) == 2.0


def test_the_machine_has_rates():
    machine = measure_throughput(torch.device('cpu'), 64)
    assert (
        machine.gathered > 0
        and set(machine.products) == {'fp32', 'bf16', 'int8'}
        and all(x > 0 for x in machine.products.values())
    )


def test_the_tool_writes_what_it_found(tmp_path, monkeypatch, capsys):
    config = tmp_path / 'tiny.py'
    model = dict(
        type='DVIS',
        num_classes=tiny.CLASSES,
        segmenter=tiny.SEGMENTER,
        tracker=tiny.TRACKERS['dvis'],
        refiner=tiny.REFINER,
        postprocessor=tiny.PANOPTIC,
    )
    config.write_text(f'model = {model!r}')
    tool = load('tools/analysis_tools/benchmark.py')
    monkeypatch.setattr(tool, 'measure_throughput', lambda device: Throughput(dict(fp32=1e9, bf16=2e9), 1e9))
    monkeypatch.setattr(
        sys,
        'argv',
        [
            'benchmark.py',
            str(config),
            '--frames',
            '3',
            '--size',
            '64',
            '--baseline',
            'plain',
            '--json',
            str(tmp_path / 'found.json'),
        ],
    )
    tool.main()
    text, results = capsys.readouterr().out, json.loads((tmp_path / 'found.json').read_text())
    assert 'plain / ours' in text and '3 frames of 64 x 114' in text and '1 GFLOP/s fp32' in text
    assert (
        results['ours']['seconds']['all'] > 0
        and results['plain']['seconds'].keys() == results['ours']['seconds'].keys()
    )


def test_a_stop_watch_counts_what_runs_by_itself(monkeypatch):
    ticks = iter(range(100))
    monkeypatch.setattr('mmdvis.analysis.profile_inference.time.perf_counter', lambda: float(next(ticks)))
    inner, outer = torch.nn.Identity(), torch.nn.Sequential()
    outer.append(inner)
    watch = StopWatch(torch.device('cpu'))
    watch.follow('inner', inner)
    watch.follow('outer', outer, outermost=True)
    inner(1)
    outer(1)
    inner(1)
    assert watch.spent == dict(inner=2.0, outer=1.0)  # calls inside the outermost module count for that module
    watch.stop()
    outer(1)
    assert watch.spent == dict(inner=2.0, outer=1.0)


def test_a_peak_that_is_not_forgotten_is_not_told(monkeypatch):
    monkeypatch.setattr('mmdvis.analysis.profile_inference.can_reset_peak', lambda: False)
    assert math.isnan(peak_memory(torch.device('cpu'))[0])
    with torch.no_grad():
        assert math.isnan(
            profile_inference(tiny.model().eval(), ArrayFrames(random_video(2, (64, 96))), torch.device('cpu')).host
        )


def test_memory_is_counted_from_the_built_model_on(monkeypatch):
    """Memory that the warm-up run leaves allocated (threads, convolution plans) is included."""
    starts = iter([(100, 0), (170, 0)])
    monkeypatch.setattr('mmdvis.analysis.profile_inference.reset_peak_memory', lambda device: next(starts))
    monkeypatch.setattr('mmdvis.analysis.profile_inference.peak_memory', lambda device: (250.0, 0))
    with torch.no_grad():
        assert (
            profile_inference(tiny.model().eval(), ArrayFrames(random_video(2, (64, 96))), torch.device('cpu')).host
            == 150
        )


@pytest.fixture
def only_new_objects():
    """Exclude objects that exist before the test from ``gc.get_objects``, which is slow for many objects."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def live_bytes():
    """Return the bytes of the CPU tensors created in the test, counting each storage once."""
    real = [x for x in gc.get_objects() if type(x) in (torch.Tensor, torch.nn.Parameter) and x.device.type == 'cpu']
    storages = {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in real}
    return sum(storages.values())


def bytes_a_frame(store, lengths=(20, 60), precision='fp32'):
    """Return the bytes of live tensors per frame, measured just before the postprocessor creates masks."""
    model, sizes = optimize_for_inference(tiny.model('dvis', True, store=store).eval(), precision), []
    model.postprocessor.register_forward_pre_hook(lambda *_: sizes.append(live_bytes()))
    for length in lengths:
        frames = random_video(length, (64, 96))
        model.predict([ArrayFrames(frames)], [VideoDataSample()])
        sizes[-1] -= frames.numel()
    return (sizes[1] - sizes[0]) / (lengths[1] - lengths[0])


def test_a_longer_video_adds_its_queries_and_nothing_else_where_features_are_not_kept(only_new_objects, monkeypatch):
    monkeypatch.setattr('mmdvis.io.feature_stores.BLOCK_BYTES', 1)
    need = memory_need(tiny.model('dvis', True), ArrayFrames(random_video(1, (64, 96))))
    kept = {store: bytes_a_frame(store) for store in STORES}
    assert 0.3 * need.queries < kept['recompute'] <= 1.2 * need.queries
    assert kept['disk'] == pytest.approx(kept['recompute'], rel=0.05)
    assert kept['memory'] - kept['recompute'] == pytest.approx(need.features, rel=0.05)
    assert kept['exact'] - kept['recompute'] == pytest.approx(2 * need.features, rel=0.05)


def test_queries_in_half_precision_are_less_and_the_formula_knows(only_new_objects):
    source, needs = ArrayFrames(random_video(1, (64, 96))), {}
    for precision in ('fp32', 'bf16'):
        needs[precision] = memory_need(
            optimize_for_inference(tiny.model('dvis', True).eval(), precision), source
        ).queries
        assert 0.6 * needs[precision] < bytes_a_frame('recompute', precision=precision) <= 1.2 * needs[precision]
    assert needs['bf16'] == 7 * (4 * 5 * 16 + 2 * (2 * 16 + 6)) < needs['fp32'] == 4 * 7 * (5 * 16 + 2 * 16 + 6)


def test_masks_of_a_long_video_add_nothing_while_they_are_made(only_new_objects, monkeypatch):
    """Live memory stays constant from the first yielded frame to the last."""
    monkeypatch.setattr('mmdvis.io.feature_stores.BLOCK_BYTES', 1)
    monkeypatch.setattr('mmdvis.models.postprocessors.panoptic.DiskBackedMaps', partial(DiskBackedMaps, 1))
    model = tiny.model('dvis', True).eval()
    force_segments(model, 3)
    video = OfflineVideo(model, progress=False, store='recompute')
    sizes = [live_bytes() for _ in video.frames(ArrayFrames(random_video(30, (64, 96))))]
    assert len(sizes) == 30 and max(sizes) - min(sizes) <= 0.02 * min(sizes)


def test_a_stream_holds_no_more_after_more_frames(only_new_objects):
    stream, sizes = VideoStream(tiny.model('dvis').eval()), []
    for _ in range(6):
        stream.push(random_video(5, (64, 96)))
        sizes.append(live_bytes())
    assert max(sizes[1:]) == min(sizes[1:])
