"""Tiles in which only the rows that can win are computed give the pixels of whole frames."""

import pytest
import torch
from helpers.largest_tensor import largest

from mmdvis.models.functional import mask_tiles as mask_tiles_module
from mmdvis.models.functional import tiled_panoptic
from mmdvis.models.functional.mask_tiles import mask_tiles
from mmdvis.models.functional.panoptic_fusion import assign_bands
from mmdvis.models.functional.tiled_panoptic import assign_frame, candidates
from mmdvis.models.postprocessors import InstancePostprocessor, PanopticPostprocessor, SemanticPostprocessor
from mmdvis.results import decode_mask
from mmdvis.structures import FactoredMasks, FrameSize, VideoPrediction

SIZES = {  # padded, image, original
    'equal': FrameSize((96, 160), (96, 160), (96, 160)),
    'padded': FrameSize((96, 160), (90, 131), (90, 131)),
    'larger': FrameSize((96, 160), (90, 131), (135, 197)),
    'smaller': FrameSize((96, 160), (90, 131), (41, 60)),
}


def masks(kind, num_rows, size, seed=0, channels=8):
    """Ellipses of different sizes as trained models give them, or noise."""
    g = torch.Generator().manual_seed(seed)
    height, width = size.padded[0] // 4, size.padded[1] // 4
    if kind == 'noise':
        logits = 3 * torch.randn(num_rows, height, width, generator=g)
    else:
        y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing='ij')
        centre = torch.rand(num_rows, 2, 1, 1, generator=g) * torch.tensor([height, width]).view(2, 1, 1)
        radius = 3 + torch.rand(num_rows, 2, 1, 1, generator=g) * torch.tensor([height, width]).view(2, 1, 1) / 4
        distance = ((y - centre[:, 0]) / radius[:, 0]) ** 2 + ((x - centre[:, 1]) / radius[:, 1]) ** 2
        logits = 6 * (1 - distance).clamp(-1.5, 1) + 0.3 * torch.randn(num_rows, height, width, generator=g)
    return FactoredMasks(torch.eye(num_rows)[None], torch.zeros(1, num_rows), logits[None], size)


def prediction(kind, num_rows, size, seed=0):
    valid = torch.ones(1, num_rows, dtype=torch.bool)
    scores = torch.zeros(num_rows, 4)
    return VideoPrediction(torch.arange(num_rows), scores, valid, masks(kind, num_rows, size, seed))


@pytest.fixture(autouse=True)
def tiles_for_any_number_of_rows(monkeypatch):
    monkeypatch.setattr(tiled_panoptic, 'FEW', 0)


def plain(video, rows, top):
    return assign_bands(top, video.probs_of(rows)(0))


@pytest.mark.parametrize('name', ['equal', 'padded'])
@pytest.mark.parametrize('kind', ['noise', 'objects'])
@pytest.mark.parametrize('num_rows', [1, 2, 17, 60])
@pytest.mark.parametrize('tile', [3, 8, 24])
def test_tiles_are_exact_at_the_image_size(name, kind, num_rows, tile, monkeypatch):
    monkeypatch.setattr(mask_tiles_module, 'TILE', tile)
    video, rows = prediction(kind, num_rows, SIZES[name]), torch.arange(num_rows)
    top = torch.randint(1, 5, (num_rows,), generator=torch.Generator().manual_seed(1)) / 4  # equal scores occur
    found, expected = assign_frame(video, rows, top, 0), plain(video, rows, top)
    assert torch.equal(found[0], expected[0]) and found[0].dtype == expected[0].dtype
    assert torch.equal(found[1], expected[1]) and expected[1].sum() > 0


@pytest.mark.parametrize('name', ['larger', 'smaller'])
@pytest.mark.parametrize('kind', ['noise', 'objects'])
def test_results_of_another_size_differ_by_rounding(name, kind):
    video, rows, top = prediction(kind, 30, SIZES[name]), torch.arange(30), torch.linspace(0.5, 1, 30)
    found, expected = assign_frame(video, rows, top, 0), plain(video, rows, top)
    assert (found[0] != expected[0]).float().mean() < 1e-4
    assert (found[1] - expected[1]).abs().max() <= 2
    probs = torch.zeros(30, *SIZES[name].original)
    for tile in mask_tiles(video.masks, rows, 0):
        probs[:, tile.target[0], tile.target[1]] = tile.probs(rows)
    torch.testing.assert_close(probs, video.masks.probs(rows, 0), atol=1e-6, rtol=0)


@pytest.mark.parametrize('invalid', [[0], [3, 4], list(range(6))])
def test_rows_that_do_not_exist_in_a_frame(invalid):
    video, rows, top = prediction('objects', 6, SIZES['padded']), torch.arange(6), torch.linspace(0.9, 0.4, 6)
    video.valid[0, invalid] = False
    found, expected = assign_frame(video, rows, top, 0), plain(video, rows, top)
    assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])


def test_a_selection_of_rows_and_none():
    video = prediction('objects', 9, SIZES['padded'])
    rows, top = torch.tensor([2, 5, 7]), torch.tensor([0.9, 0.5, 0.7])
    found, expected = assign_frame(video, rows, top, 0), plain(video, rows, top)
    assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])
    winner, areas = assign_frame(video, rows[:0], top[:0], 0)
    assert winner.shape == SIZES['padded'].original and not winner.any() and areas.shape == (3, 0)


def test_more_rows_than_a_byte_counts():
    video, rows, top = prediction('objects', 300, SIZES['padded']), torch.arange(300), torch.linspace(0.5, 1, 300)
    found, expected = assign_frame(video, rows, top, 0), plain(video, rows, top)
    assert found[0].dtype == torch.int16 and torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])


def test_features_of_another_stride_take_the_plain_way():
    size = FrameSize((96, 160), (90, 131), (90, 131))
    odd = FactoredMasks(torch.eye(5)[None], torch.zeros(1, 5), torch.randn(1, 5, 23, 40), size)
    video = VideoPrediction(torch.arange(5), torch.zeros(5, 4), torch.ones(1, 5, dtype=torch.bool), odd)
    found, expected = (
        assign_frame(video, torch.arange(5), torch.ones(5), 0),
        plain(video, torch.arange(5), torch.ones(5)),
    )
    assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])


def test_rows_that_cannot_win_are_left_out():
    low, high = torch.tensor([[3.0, 4], [-6, -5], [-6, 2], [-6, -1e-4]])[..., None].unbind(1)
    found = candidates(torch.ones(4), low, high)[:, 0]
    assert found.tolist() == [True, False, True, True]  # the last two may cover a pixel by one half
    assert candidates(torch.tensor([0.001, 1.0, 0.001, 0.001]), low, high).all()
    video = prediction('objects', 60, FrameSize((384, 640), (384, 640), (384, 640)))
    few = [
        int(candidates(torch.ones(60), *tile.bounds).any(1).sum())
        for tile in mask_tiles(video.masks, torch.arange(60), 0)
    ]
    assert sum(few) / len(few) < 60 / 2


def test_no_map_of_a_frame_is_made_for_every_row():
    size = FrameSize((384, 640), (384, 640), (384, 640))
    video, rows, top = prediction('objects', 60, size), torch.arange(60), torch.ones(60)
    pixels = 384 * 640
    assert largest(lambda: assign_frame(video, rows, top, 0)) <= 60 * pixels // 15  # the logits at stride 4, padded
    assert largest(lambda: plain(video, rows, top)) == 60 * pixels


def test_the_postprocessor_gives_the_same_video(monkeypatch):
    video = prediction('objects', 20, SIZES['padded'])
    scores = torch.full((20, 4), 0.01)
    scores[torch.arange(20), torch.arange(20) % 3] = torch.linspace(0.6, 0.97, 20)
    video = VideoPrediction(video.ids, scores, video.valid, video.masks)
    run = PanopticPostprocessor(2, 0.5, 0.6)
    tiled = run(video)
    monkeypatch.setattr(mask_tiles_module, 'FactoredMasks', str)
    whole = run(video)
    assert torch.equal(tiled.id_map, whole.id_map) and tiled.segments == whole.segments and len(whole.segments) > 3


@pytest.mark.parametrize('name', SIZES)
@pytest.mark.parametrize('kind', ['noise', 'objects'])
def test_instances_and_classes_in_tiles(name, kind, monkeypatch):
    video = prediction(kind, 12, SIZES[name])
    scores = torch.rand(12, 9, generator=torch.Generator().manual_seed(3)).softmax(-1)
    video = VideoPrediction(video.ids, scores, video.valid, video.masks)
    instance, semantic = InstancePostprocessor(12), SemanticPostprocessor()
    tiled = instance(video), semantic(video)
    video.valid[0, 4] = False
    without = instance(video)
    monkeypatch.setattr(mask_tiles_module, 'FactoredMasks', str)
    assert without.masks == instance(video).masks
    video.valid[0, 4] = True
    whole = instance(video), semantic(video)
    assert (tiled[1].label_map != whole[1].label_map).mean() < 1e-4 and len(set(whole[1].label_map.ravel())) > 2
    assert tiled[0].size == whole[0].size == SIZES[name].original
    for a, b in zip(tiled[0].masks, whole[0].masks):
        different = (decode_mask(a[0]) != decode_mask(b[0])).mean()
        assert different == 0 if name in ('equal', 'padded') else different < 1e-3


@pytest.mark.parametrize('name', SIZES)
def test_bounds_hold_in_every_tile(name, monkeypatch):
    monkeypatch.setattr(mask_tiles_module, 'TILE', 7)
    video, rows = prediction('noise', 5, SIZES[name]), torch.arange(5)
    covered = torch.zeros(SIZES[name].original, dtype=torch.int64)
    for tile in mask_tiles(video.masks, rows, 0):
        low, high = tile.bounds
        probs = tile.probs(rows)
        assert (probs.flatten(1).amin(1) >= low.amin(1).sigmoid() - 1e-6).all()
        assert (probs.flatten(1).amax(1) <= high.amax(1).sigmoid() + 1e-6).all()
        covered[tile.target] += 1
    assert (covered == 1).all()


@pytest.mark.parametrize('few', [0, 99])
def test_frames_without_numbers_are_void(few, monkeypatch):
    monkeypatch.setattr(tiled_panoptic, 'FEW', few)
    video = prediction('objects', 20, SIZES['padded'])
    video.masks.features.fill_(float('nan'))
    winner, areas = assign_frame(video, torch.arange(20), torch.ones(20), 0)
    assert (winner == 20).all() and not areas[1:].any()


def test_no_tracks_and_other_types():
    video = prediction('objects', 5, SIZES['larger'])
    none = InstancePostprocessor(0)(VideoPrediction(video.ids, torch.rand(5, 3), video.valid, video.masks))
    assert none.size == SIZES['larger'].original and none.masks == []
    double = FactoredMasks(
        video.masks.embeds.double(), video.masks.bias.double(), video.masks.features.double(), SIZES['larger']
    )
    exact = VideoPrediction(video.ids, torch.rand(5, 3), video.valid, double)
    with torch.autocast('cpu', torch.bfloat16):
        found = assign_frame(exact, torch.arange(5), torch.ones(5, dtype=torch.float64), 0)
    assert (found[0] != plain(exact, torch.arange(5), torch.ones(5, dtype=torch.float64))[0]).float().mean() < 1e-3
