"""Whole videos: results and memory use."""

import json

import numpy as np
import pytest
import torch
from helpers import tiny

from mmdvis.apis import OfflineVideo, segment_video
from mmdvis.inference.offline_video import memory_need
from mmdvis.io import STORES, ArrayFrames, DiskBackedMaps
from mmdvis.models.layers import temporal_layer
from mmdvis.results import VideoDataSample

META = dict(classes=tuple('abcde'), category_ids=(3, 1, 4, 15, 9), num_things=3)


def source(frames=7, size=(60, 91)):
    generator = torch.Generator().manual_seed(0)
    return ArrayFrames(torch.randint(0, 256, (frames, 3, *size), generator=generator, dtype=torch.uint8), fps=12.0)


def model(**options):
    return tiny.model('dvis', True, dataset_meta=META).eval().with_options(**options)


@pytest.mark.parametrize('store', STORES)
def test_every_store_gives_the_same_video(store):
    expected = model().predict([source()], [VideoDataSample()])[0].pred_panoptic
    result = model(store=store).predict([source()], [VideoDataSample()])[0].pred_panoptic
    assert [(s.id, s.row, s.label) for s in result.segments] == [(s.id, s.row, s.label) for s in expected.segments]
    differing = (result.id_map != expected.id_map).float().mean()
    assert differing == 0 if store == 'exact' else differing < 2e-3


def test_videos_of_different_lengths_keep_their_own_features():
    videos = [source(2), source(5)]
    together = model(store='disk').predict(videos, [VideoDataSample(), VideoDataSample()])
    for video, result in zip(videos, together):
        alone = model(store='disk').predict([video], [VideoDataSample()])[0].pred_panoptic
        assert (result.pred_panoptic.id_map != alone.id_map).float().mean() < 1e-3


@pytest.mark.parametrize('limit, store', [(None, 'memory'), (1 << 30, 'memory'), (100_000, 'disk')])
def test_a_video_is_segmented_as_a_whole(limit, store, tmp_path):
    whole = OfflineVideo(model(), max_memory=limit, progress=False)
    expected = model().predict([source()], [VideoDataSample()])[0].pred_panoptic
    written = segment_video(whole, source(), tmp_path / 'out', progress=False)
    assert whole.choose_store(source()) == store
    result = json.loads(written['result.json'].read_text())
    assert len(result['frames']) == len(expected.id_map)
    for frame, ids in zip(result['frames'], expected.id_map):
        assert {s['id'] for s in frame['segments_info']} == set(ids.unique().tolist()) - {0}
    maps = np.stack([result.id_map for _, result in OfflineVideo(model(), progress=False).frames(source())])
    assert (maps != expected.id_map.numpy()).mean() < 2e-3


def test_too_little_memory_is_said_before_anything_is_done(tmp_path):
    with pytest.raises(ValueError, match='7 frames need .* for their queries alone'):
        segment_video(
            OfflineVideo(model(), max_memory=1000, progress=False), source(), tmp_path / 'out', progress=False
        )
    with pytest.raises(ValueError, match='set causal=False'):
        OfflineVideo(model(causal=True))


def test_the_need_is_what_the_formula_says():
    need = memory_need(model(), source())
    slots, width, classes = tiny.QUERIES, tiny.WIDTH, tiny.CLASSES
    assert need.queries == 4 * slots * (5 * width + 2 * width + classes + 1)
    assert need.features == 2 * width * 16 * 24 and need.output == 60 * 91  # padded to 64 x 96, stride 4


def test_refining_by_parts_changes_nothing(monkeypatch):
    tracks = model().tracker(tiny.frame_queries(9, 2, [9, 6]))[0]
    refiner = model().refiner
    whole = refiner(tracks)  # with gradients, the refiner runs in one part
    monkeypatch.setattr(temporal_layer, 'PART', 100)
    with torch.no_grad():
        parts = refiner(tracks)
    for name in ('embeds', 'class_logits', 'mask_embeds'):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('dtype, limit', [(torch.uint8, 1 << 20), (torch.int16, 1 << 20), (torch.uint8, 50)])
def test_spooled_maps_come_back(dtype, limit):
    maps, spool = torch.randint(200, (6, 5, 7)).to(dtype), DiskBackedMaps(limit)
    for k, values in enumerate(maps):
        spool.append(values)
        assert torch.equal(spool[k // 2], maps[k // 2])
    assert len(spool) == 6 and all(torch.equal(spool[k], maps[k]) for k in (5, 0, 3))
