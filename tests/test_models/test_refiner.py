"""The temporal refiner."""

from dataclasses import replace

import torch
from helpers import tiny

from mmdvis.models.layers.temporal_layer import time_masks
from mmdvis.models.refiners import TemporalRefiner
from mmdvis.models.trackers import CosineTracker


def tracks(num_frames=6, batch=1, lengths=None):
    return CosineTracker()(tiny.frame_queries(num_frames, batch, lengths))[0]


def build():
    torch.manual_seed(0)
    return TemporalRefiner(**tiny.COMMON).eval()


def test_parameter_count_is_that_of_the_paper():
    def count(num_classes):
        return sum(p.numel() for p in TemporalRefiner(num_classes).parameters())

    assert count(25) == 14_411_291
    assert count(124) == 14_436_734


def test_padding_frames_change_nothing():
    refiner, both = build(), tracks(6, 2, [6, 4])
    with torch.no_grad():
        together, alone = refiner(both), refiner(both.video(1, 4))
    for name in ('class_logits', 'mask_embeds', 'embeds'):
        torch.testing.assert_close(getattr(together.video(1, 4), name), getattr(alone, name), atol=1e-5, rtol=1e-4)


def test_every_frame_sees_every_frame():
    refiner, clip = build(), tracks(5)
    embeds = clip.embeds.clone().requires_grad_()
    refiner(replace(clip, embeds=embeds)).mask_embeds[:, 0].sum().backward()
    assert (embeds.grad.abs().sum((0, 2, 3)) > 0).all()


def test_without_convolutions_the_order_of_time_is_nothing():
    refiner, clip = build(), tracks(5)
    for layer in refiner.layers:
        for conv in (layer.conv[0], layer.conv[2]):
            torch.nn.init.zeros_(conv.weight)
            torch.nn.init.zeros_(conv.bias)
    order = torch.tensor([3, 0, 4, 1, 2])
    names = [name for name in clip.AXES if name != 'ids']
    mixed = replace(clip, **{name: getattr(clip, name)[:, order] for name in names})
    with torch.no_grad():
        torch.testing.assert_close(
            refiner(clip).mask_embeds[:, order], refiner(mixed).mask_embeds, atol=1e-5, rtol=1e-4
        )


def test_with_convolutions_the_order_of_time_counts():
    refiner, clip = build(), tracks(5)
    names = [name for name in clip.AXES if name != 'ids']
    turned = replace(clip, **{name: getattr(clip, name).flip(1) for name in names})
    with torch.no_grad():
        assert (refiner(clip).mask_embeds.flip(1) - refiner(turned).mask_embeds).abs().max() > 1e-3


def test_one_class_for_all_frames():
    with torch.no_grad():
        logits = build()(tracks(4)).class_logits
    assert (logits == logits[:, :1]).all()


def test_masks_of_time():
    valid = torch.tensor([[True, True, False], [True, True, True]])[..., None].expand(-1, -1, 2).clone()
    valid[1, :, 1] = False  # a track that is never valid
    allowed, hold = time_masks(valid)
    assert allowed[:, 0].tolist() == [[True, True, False]] * 2 + [[True] * 3, [True] * 3]
    assert hold.tolist() == [[0, 1, 1], [0, 1, 2]]
