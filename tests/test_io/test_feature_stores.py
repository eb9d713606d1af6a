"""The four stores of mask features."""

import pytest
import torch

from mmdvis.io import STORES, ArrayFrames, MemoryNeed, feature_store
from mmdvis.io.feature_stores import MemoryFeatures
from mmdvis.structures import FactoredMasks, FrameSize

FRAMES = torch.randint(256, (5, 3, 8, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def compute(frames):
    """Return distinct features (t, 4, 2, 3) for each frame."""
    return torch.stack([frames[:, :, ::4, ::4].float().mean(1) / k for k in (1, 2, 3, 7)], 1)


def filled(kind, dtype=torch.float32):
    store = feature_store(kind, ArrayFrames(FRAMES), lambda frames: compute(frames).to(dtype))
    for start in (0, 2, 4):
        store.append(compute(FRAMES[start : start + 2]).to(dtype))
    return store


@pytest.mark.parametrize('kind', STORES)
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_every_frame_comes_back(kind, dtype):
    store, tolerance = filled(kind, dtype), 0 if kind in ('exact', 'recompute') or dtype == torch.bfloat16 else 2**-11
    for frame in (0, 1, 4, 2, 2):
        expected = compute(FRAMES[frame : frame + 1])[0].to(dtype)
        torch.testing.assert_close(store[frame].to(dtype), expected, rtol=tolerance, atol=0)
        assert store[frame].shape == (4, 2, 3)


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_frames_lie_in_blocks(layout, monkeypatch):
    monkeypatch.setattr('mmdvis.io.feature_stores.BLOCK_BYTES', 3 * 4 * 4 * 2 * 3)
    features = torch.randn(7, 4, 2, 3).contiguous(memory_format=layout)
    store = MemoryFeatures()
    store.append(features[:5])
    store.append(features[5:])
    assert [len(block) for block in store.blocks] == [3, 3, 3] and all(
        torch.equal(store[k], features[k]) for k in range(7)
    )
    assert store.blocks[0].is_contiguous(memory_format=layout)


def test_what_is_recomputed_is_computed_once_for_a_frame():
    calls = []
    store = feature_store('recompute', ArrayFrames(FRAMES), lambda frames: calls.append(len(frames)) or compute(frames))
    for frame in (0, 0, 1, 1, 1, 0):
        store[frame]
    assert calls == [1, 1, 1]


def test_a_frame_that_was_never_put_in_is_said():
    with pytest.raises(IndexError, match='frame 5 is not in the store, which has 5'):
        filled('disk')[5]


def test_half_precision_takes_half_the_room():
    halves, whole = filled('memory'), filled('exact')
    assert halves[0].dtype == torch.float16 and whole[0].dtype == torch.float32
    spooled = filled('disk')
    assert spooled.file.seek(0, 2) == 5 * 2 * 4 * 2 * 3


def test_an_unknown_store_is_named():
    with pytest.raises(ValueError, match="store must be 'exact', 'memory', 'disk' or 'recompute', got 'cloud'"):
        feature_store('cloud', ArrayFrames(FRAMES), compute)


@pytest.mark.parametrize(
    'limit, disk, expected', [(1600, 0, 'memory'), (1599, 10_000, 'disk'), (1599, 1299, 'recompute')]
)
def test_the_store_is_chosen_by_what_there_is_room_for(limit, disk, expected):
    assert MemoryNeed(queries=60, features=100, output=30).choose(10, limit, disk) == expected


def test_too_little_memory_for_the_queries_is_said():
    need = MemoryNeed(queries=1 << 20, features=1, output=1)
    with pytest.raises(
        ValueError, match='100 frames need 100 MB for their queries alone .* more than the 99 MB allowed'
    ):
        need.choose(100, 99 << 20, 0)


def test_masks_of_nobody_need_no_features():
    class Refuses:
        def __getitem__(self, frame):
            raise AssertionError('no masks were requested')

    masks = FactoredMasks(torch.zeros(2, 3, 4), torch.zeros(2, 3), Refuses(), FrameSize((8, 12), (8, 12), (20, 30)))
    nobody = torch.zeros(0, dtype=torch.long)
    assert masks.probs(nobody, 0).shape == masks.logits(nobody, 1).shape == (0, 20, 30)
