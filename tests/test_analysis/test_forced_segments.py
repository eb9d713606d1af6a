"""Segments of models with random weights look like those of a trained model."""

import pytest
import torch
from helpers import tiny

from mmdvis.analysis.forced_segments import force_segments, with_objects
from mmdvis.analysis.profile_inference import random_video
from mmdvis.apis import OfflineVideo
from mmdvis.io import STORES, ArrayFrames
from mmdvis.models.functional.mask_tiles import mask_tiles
from mmdvis.models.functional.tiled_panoptic import candidates
from mmdvis.structures import FactoredMasks, FrameSize


@pytest.mark.parametrize('store', STORES)
def test_the_first_rows_are_objects(store):
    model = tiny.model('dvis', True).eval()
    model.postprocessor.overlap_thr = 0.0
    force_segments(model, 4)
    video = OfflineVideo(model, progress=False, store=store)
    maps = [torch.as_tensor(result.id_map) for _, result in video.frames(ArrayFrames(random_video(3, (64, 96))))]
    assert all(torch.equal(ids, maps[0]) for ids in maps)
    assert len(maps[0].unique()) > 1
    assert (maps[0][:, 1:] == maps[0][:, :-1]).float().mean() > 0.95  # no noise


@pytest.mark.parametrize('is_last', [False, True])
def test_few_rows_can_win_a_tile(is_last):
    """With random masks, every row can win pixels in every tile; with ellipses, less than 60 % of them."""
    generator = torch.Generator().manual_seed(0)
    embeds, features = torch.randn(2, 60, 64, generator=generator), torch.randn(2, 64, 96, 160, generator=generator)
    if is_last:
        features = features.contiguous(memory_format=torch.channels_last)
    size = FrameSize((384, 640), (384, 640), (384, 640))
    noise = FactoredMasks(embeds, torch.ones(2, 60), features, size)
    objects, rows = with_objects(noise, 50), torch.arange(50)
    assert objects.features[1].stride() == features[1].stride()
    shares = []
    for masks in (noise, objects):
        tiles = mask_tiles(masks, rows, 1)
        shares.append(
            sum(candidates(torch.ones(50), *tile.bounds).any(1).float().mean() for tile in tiles) / len(tiles)
        )
    assert shares[0] == 1 and shares[1] < 0.6
    assert (objects.small(rows, 1) > 0).flatten(1).any(1).all() and not objects.small(rows + 10, 1)[40:].any()
    with pytest.raises(ValueError, match='cannot force 65 segments on a model with 64 mask channels; use at most 64'):
        with_objects(noise, 65)
