"""Parts of VPSNet: warping, fusion, joint logits, truth of frames, optical flow and associators."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.largest_tensor import largest
from mmengine.registry import DefaultScope

from mmdvis.errors import DataError
from mmdvis.io import FlowFiles, read_flow, write_flow
from mmdvis.models.associators import AffinityAssociator, FlowIoUAssociator, RankAssociator
from mmdvis.models.flow import DISFlow, ZeroFlow
from mmdvis.models.functional.frame_truth import MaskCrops, binary_masks, frame_truth, mask_boxes
from mmdvis.models.functional.joint_logits import (
    fuse_frame,
    paste,
    reconcile,
    remove_covered,
    training_logits,
    training_target,
)
from mmdvis.models.functional.pixel_loss import pixel_cross_entropy
from mmdvis.models.functional.track_memory import mask_iou, moved
from mmdvis.models.functional.video_tracks import Detections
from mmdvis.models.functional.warp import local_correlation, warp
from mmdvis.models.heads import TrackEmbedHead, UPSNetSemanticHead
from mmdvis.models.necks import TemporalFuse
from mmdvis.models.necks.attend import SpatioTemporalAttend
from mmdvis.registry import MODELS
from mmdvis.structures import ClipTargets, quarter_flow


def pyramid(size=(32, 48), channels=8, seed=0, batch=1):
    g = torch.Generator().manual_seed(seed)
    sizes = [(-(-size[0] // 2**k), -(-size[1] // 2**k)) for k in range(5)]
    return tuple(torch.randn(batch, channels, *s, generator=g) for s in sizes)


# ---------------------------------------------------------------------------------------------------------- warping


def test_no_flow_changes_nothing():
    features = torch.randn(2, 3, 7, 9)
    torch.testing.assert_close(warp(features, torch.zeros(2, 2, 7, 9)), features, atol=1e-5, rtol=0)


def test_whole_pixels_are_moved_exactly():
    features = torch.randn(1, 3, 7, 9)
    flow = torch.zeros(1, 2, 7, 9)
    flow[:, 0], flow[:, 1] = 2, -1
    moved_features = warp(features, flow)
    torch.testing.assert_close(moved_features[..., 1:, :-2], features[..., :-1, 2:], atol=1e-5, rtol=0)
    assert moved_features[..., 0, :].abs().max() < 1e-5 and moved_features[..., -2:].abs().max() < 1e-5  # outside


def test_half_pixels_at_the_border_fade_to_zero():
    warped = warp(torch.ones(1, 1, 3, 4), torch.full((1, 2, 3, 4), 0.5))
    assert warped[0, 0, 1, 1] == pytest.approx(1, abs=1e-5)
    assert warped[0, 0, 2, 1] == pytest.approx(0.5, abs=1e-5) and warped[0, 0, 2, 3] == pytest.approx(0.25, abs=1e-5)


def test_correlation_against_loops():
    first, second = torch.randn(1, 5, 4, 6, dtype=torch.float64), torch.randn(1, 5, 4, 6, dtype=torch.float64)
    found = local_correlation(first, second, radius=2)
    for k, (dy, dx) in enumerate((dy, dx) for dy in range(-2, 3) for dx in range(-2, 3)):
        for y in range(4):
            for x in range(6):
                inside = 0 <= y + dy < 4 and 0 <= x + dx < 6
                expected = (first[0, :, y, x] * second[0, :, y + dy, x + dx]).mean() if inside else 0.0
                assert abs(float(found[0, k, y, x]) - float(expected)) < 1e-12


# ----------------------------------------------------------------------------------------------------------- fusion


@pytest.mark.parametrize('references', [1, 2, 3])
@pytest.mark.parametrize('options', [dict(), dict(attend=False), dict(align=False), dict(gather='mean', refine=True)])
@pytest.mark.parametrize('size', [(32, 48), (17, 23)])
def test_fusion_keeps_the_sizes(references, options, size):
    torch.manual_seed(0)
    neck = TemporalFuse(channels=8, num_references=references, **options)
    neck.init_weights()
    key, others = pyramid(size), [pyramid(size, seed=k + 1) for k in range(references)]
    flows = torch.zeros(1, references, 2, *size) if neck.needs_flow else None
    fused = neck(key, others, flows)
    assert [level.shape for level in fused] == [level.shape for level in key]
    sum(level.square().sum() for level in fused).backward()
    unused = [name for name, parameter in neck.named_parameters() if parameter.grad is None]
    assert not unused
    for k in range(references):  # each of them matters
        others_swapped = [*others]
        others_swapped[k] = pyramid(size, seed=99)
        assert not torch.allclose(neck(key, others_swapped, flows)[0], fused[0])
    if neck.needs_flow:
        assert not torch.allclose(neck(key, others, flows + 2.0)[0], fused[0])


@pytest.mark.parametrize('references', [1, 2])
def test_attention_against_its_formula(references):
    """2 h sigmoid(a) + b of the specification, with products and sums written out in float64."""
    torch.manual_seed(references)
    module = SpatioTemporalAttend(channels=4, num_references=references).double()
    frames = torch.randn(references + 1, 1, 4, 5, 7, dtype=torch.float64)

    def conv(layer, x):
        weight, bias = layer.weight, layer.bias
        columns = torch.nn.functional.unfold(x, weight.shape[2:], padding=weight.shape[2] // 2)
        return (weight.flatten(1) @ columns[0] + bias[:, None]).view(1, -1, *x.shape[2:])

    def leaky(x):
        return torch.where(x > 0, x, 0.1 * x)

    def pooled(x):
        height, width = ((n + 1) // 2 for n in x.shape[2:])
        largest, mean = (torch.zeros(1, 4, height, width, dtype=torch.float64) for _ in range(2))
        for y in range(height):
            for x0 in range(width):
                window = x[0, :, max(2 * y - 1, 0) : 2 * y + 2, max(2 * x0 - 1, 0) : 2 * x0 + 2].flatten(1)
                largest[0, :, y, x0], mean[0, :, y, x0] = window.max(1).values, window.sum(1) / 9
        return torch.cat([largest, mean], 1)

    centre = conv(module.time_key, frames[0])
    shares = [1 / (1 + (-(conv(module.time_frames, frame) * centre).sum(1)).exp()) for frame in frames]
    together = torch.cat([frame * share[:, None] for frame, share in zip(frames, shares)], 1)
    space = leaky(conv(module.space[1], pooled(leaky(conv(module.space[0], together)))))
    space = torch.nn.functional.interpolate(leaky(conv(module.space[2], space)), (5, 7), mode='bilinear')
    a = conv(module.space[3], space)
    b = conv(module.offset[1], leaky(conv(module.offset[0], a)))
    expected = 2 * leaky(conv(module.fusion, together)) / (1 + (-a).exp()) + b
    torch.testing.assert_close(module(frames[0], list(frames[1:])), expected, rtol=1e-10, atol=1e-10)


def test_without_references_the_levels_are_exchanged():
    neck = TemporalFuse(channels=8, align=False, attend=False)
    key = pyramid()
    fused = neck(key)
    gathered = sum(F.interpolate(level, (32, 48), mode='nearest') for level in key[:4])
    for k in range(4):
        expected = key[k] + F.adaptive_max_pool2d(gathered, key[k].shape[-2:])
        torch.testing.assert_close(fused[k], expected)
    torch.testing.assert_close(fused[4], fused[3][..., ::2, ::2])
    assert not list(neck.parameters()) and neck.num_references == 0


def test_the_mean_without_references_is_mmdets_balanced_pyramid():
    neck = TemporalFuse(channels=8, align=False, attend=False, gather='mean')
    with DefaultScope.overwrite_default_scope('mmdet'):
        balanced = MODELS.build(dict(type='mmdet.BFP', in_channels=8, num_levels=5, refine_level=0, refine_type=None))
    for ours, theirs in zip(neck(pyramid()), balanced(pyramid())):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    'options, expected',
    [
        (dict(), 3_137_186),
        (dict(num_references=2), 3_268_258),
        (dict(refine=True), 3_727_266),
        (dict(attend=False), 382_626),
        (dict(align=False), 2_885_888),
    ],
)
def test_parameters_of_the_fusion(options, expected):
    assert sum(p.numel() for p in TemporalFuse(**options).parameters()) == expected


def test_a_still_reference_is_seen_where_it_is():
    """With the zero correction, an aligned copy of the key frame is the key frame."""
    neck = TemporalFuse(channels=8, residual_init='zero')
    neck.init_weights()
    key = pyramid()
    centre = neck.gather(key)
    aligned = neck.align(centre, centre, torch.zeros(1, 2, 32, 48))
    torch.testing.assert_close(aligned, centre, atol=1e-4, rtol=1e-4)


# ------------------------------------------------------------------------------------------------------------ heads


@pytest.mark.parametrize('classes, expected', [(19, 1_146_697), (23, 1_148_749)])
def test_parameters_of_the_semantic_head(classes, expected):
    head = UPSNetSemanticHead(classes)
    assert sum(p.numel() for p in head.parameters()) == expected
    head.init_weights()
    assert all(block.conv_offset.weight.abs().sum() == 0 for block in head.convs)


def test_the_semantic_head_and_its_loss():
    head = UPSNetSemanticHead(5, in_channels=8, channels=(8, 8, 8), norm_groups=2)
    head.init_weights()
    logits = head(pyramid((8, 12)))
    assert logits.shape == (1, 5, 8, 12)
    truth = torch.randint(0, 5, (1, 32, 48))
    expected = F.cross_entropy(logits, truth[:, ::4, ::4])
    torch.testing.assert_close(head.loss(logits, truth), expected)
    full = UPSNetSemanticHead(5, in_channels=8, channels=(8, 8, 8), norm_groups=2, loss_at='full', loss_weight=0.5)
    resized = F.interpolate(logits, (32, 48), mode='bilinear', align_corners=False)
    torch.testing.assert_close(full.loss(logits, truth), 0.5 * F.cross_entropy(resized, truth))
    empty = head.loss(logits, torch.full((1, 32, 48), 255))
    assert float(empty) == 0 and empty.requires_grad


def test_the_track_head():
    head = TrackEmbedHead()
    assert sum(p.numel() for p in head.parameters()) == 13_895_680
    head = TrackEmbedHead(in_channels=2, roi_size=2, channels=4)
    first, second = torch.randn(3, 4), torch.randn(2, 4)
    logits = head.affinity(first, second)
    assert logits.shape == (3, 3) and (logits[:, 0] == 0).all()
    cosine = float(first[1] @ second[0] / first[1].norm() / second[0].norm())
    assert float(logits[1, 1]) == pytest.approx(cosine / 0.1, rel=1e-5)
    dot = TrackEmbedHead(in_channels=2, roi_size=2, channels=4, similarity='dot')
    assert float(dot.affinity(first, second)[2, 2]) == pytest.approx(float(first[2] @ second[1]), rel=1e-5)
    ids, others = torch.tensor([5, 7, 9]), torch.tensor([7, 4])
    expected = F.cross_entropy(logits, torch.tensor([0, 1, 0]))
    torch.testing.assert_close(head.loss(first, second, ids, others), expected)


@pytest.mark.parametrize('objects, others', [(0, 2), (2, 0), (0, 0)])
def test_the_track_loss_without_objects(objects, others):
    head = TrackEmbedHead(in_channels=2, roi_size=2, channels=4)
    first, second = (head(torch.randn(n, 2, 2, 2)) for n in (objects, others))
    loss = head.loss(first, second, torch.arange(objects), torch.arange(others) + 9)
    loss.backward()
    assert loss.isfinite() and all(p.grad is not None for p in head.parameters())
    if not objects:
        assert float(loss) == 0


# ----------------------------------------------------------------------------------------------------- joint logits


def stacked_twin(semantic, mask_logits, boxes, labels, num_things, padded, size, zero_outside=False):
    """All channels at once: stuff, then the objects that are kept, and the arg max."""
    whole = F.interpolate(semantic[None], padded, mode='bilinear', align_corners=False)[0, :, : size[0], : size[1]]
    kept = remove_covered(mask_logits, boxes, labels, size)
    channels = [*whole[num_things:]]
    for i in range(len(labels)):
        channel = torch.full(size, 0.0 if zero_outside else -math.inf)
        pasted = paste(mask_logits[i], boxes[i], size)
        if kept[i] and pasted is not None:
            channel[pasted[1]] = whole[labels[i]][pasted[1]] + pasted[0]
        elif not kept[i]:
            channel = torch.full(size, -math.inf)
        channels.append(channel)
    joint = torch.stack(channels)
    num_stuff = len(semantic) - num_things
    return reconcile((joint.argmax(0) + 1).int(), whole.argmax(0), labels, kept, num_things, num_stuff, 0)


def panoptic_inputs(seed, number=12, things=3, classes=7, size=(50, 70)):
    g = torch.Generator().manual_seed(seed)
    padded = (64, 96)
    semantic = torch.randn(classes, 16, 24, generator=g)
    corner = torch.rand(number, 2, generator=g) * torch.tensor([size[1], size[0]]) - 5
    boxes = torch.cat([corner, corner + 4 + torch.rand(number, 2, generator=g) * 30], 1)
    labels = torch.randint(0, things, (number,), generator=g)
    return semantic, 3 * torch.randn(number, 14, 14, generator=g), boxes, labels, things, padded, size


@pytest.mark.parametrize('seed', range(10))
@pytest.mark.parametrize('zero_outside', [False, True])
def test_running_maps_equal_stacked_channels(seed, zero_outside):
    semantic, masks, boxes, labels, things, padded, size = panoptic_inputs(seed)
    found = fuse_frame(semantic, masks, boxes, labels, things, padded, size, size, zero_outside=zero_outside)
    expected = stacked_twin(semantic, masks, boxes, labels, things, padded, size, zero_outside)
    assert torch.equal(found.winners, expected.winners) and torch.equal(found.kept, expected.kept)


def test_the_channels_are_never_stacked():
    """100 objects and 11 stuff classes at 1024 x 2048 would be 931 MB; a few maps of 8 MB are made."""
    semantic = torch.randn(19, 256, 512)
    g = torch.Generator().manual_seed(0)
    corner = torch.rand(100, 2, generator=g) * torch.tensor([1800.0, 900.0])
    boxes = torch.cat([corner, corner + 200 * torch.rand(100, 2, generator=g)], 1)
    labels, masks = torch.randint(0, 8, (100,), generator=g), torch.randn(100, 28, 28, generator=g)
    size = (1024, 2048)
    numbers = largest(lambda: fuse_frame(semantic, masks, boxes, labels, 8, size, size, size))
    assert numbers <= 1024 * 2048


def test_no_objects():
    semantic = torch.randn(7, 16, 24)
    found = fuse_frame(
        semantic,
        torch.zeros(0, 14, 14),
        torch.zeros(0, 4),
        torch.zeros(0, dtype=torch.long),
        3,
        (64, 96),
        (50, 70),
        (50, 70),
    )
    assert found.winners.min() >= 1 and found.winners.max() <= 4 and len(found.kept) == 0


def test_covered_objects_of_a_class_are_removed():
    masks = torch.full((4, 14, 14), 5.0)
    boxes = torch.tensor([[0.0, 0, 19, 19], [2, 2, 17, 17], [2, 2, 17, 17], [90, 90, 99, 99]])
    kept = remove_covered(masks, boxes, torch.tensor([0, 0, 1, 0]), (40, 40))
    assert kept.tolist() == [True, False, True, False]  # covered by its class; another class; outside the image
    masks[0] = -1.0  # an empty mask is removed and covers nothing
    assert remove_covered(masks, boxes, torch.tensor([0, 0, 1, 0]), (40, 40)).tolist() == [False, True, True, False]


def test_reconciliation_by_hand():
    """Two thing and two stuff classes; objects 0 to 3 won one region of four pixels each."""
    winners = torch.tensor(
        [[3, 3, 4, 4, 5, 5, 6, 6], [3, 3, 4, 4, 5, 5, 6, 6], [1, 1, 2, 2, 2, 2, 2, 2]], dtype=torch.int32
    )
    classes = torch.tensor([[0, 0, 2, 2, 1, 1, 2, 3], [0, 0, 2, 3, 1, 1, 0, 0], [2, 2, 3, 3, 3, 3, 3, 3]])
    labels = torch.tensor([0, 0, 0, 1])
    found = reconcile(winners, classes, labels, torch.ones(4, dtype=torch.bool), 2, 2, min_stuff_area=3)
    # 0: looks like its class; 1: three of four like stuff 2; 2: like another thing; 3: half like things
    assert found.kept.tolist() == [True, False, True, True]
    assert found.winners[0].tolist() == [3, 3, 1, 1, 5, 5, 6, 6]
    assert found.winners[2].tolist() == [1, 1, 2, 2, 2, 2, 2, 2]  # two pixels alone would be void, but four joined them
    found = reconcile(winners, classes, labels, torch.ones(4, dtype=torch.bool), 2, 2, min_stuff_area=7)
    assert found.winners[2].tolist() == [0] * 8


def test_training_logits_and_targets():
    semantic, masks, boxes, labels, things, _, _ = panoptic_inputs(0, number=3)
    logits = training_logits(semantic, masks, boxes / 4, labels, things)
    assert logits.shape == (4 + 3, 16, 24) and torch.equal(logits[:4], semantic[3:])
    values, window = paste(masks[1], boxes[1] / 4, (16, 24))
    torch.testing.assert_close(logits[5][window], semantic[labels[1]][window] + values)
    outside = torch.ones(16, 24, dtype=torch.bool)
    outside[window] = False
    assert (logits[5][outside] == 0).all()
    truth = torch.tensor([[0, 3, 255], [4, 1, 6]])
    mask = torch.tensor([[[True, False, False], [False, False, False]], [[False] * 3, [False, True, False]]])
    target = training_target(truth, mask, num_things=3, num_stuff=4)
    assert target.tolist() == [[4, 0, 255], [1, 5, 3]]
    assert training_target(truth, mask[:1], 3, 4).tolist() == [[4, 0, 255], [1, 255, 3]]  # an uncovered thing is void
    assert pixel_cross_entropy(logits[None], torch.full((1, 16, 24), 255)) == 0


# ------------------------------------------------------------------------------------------------------------- truth


def test_the_truth_of_a_frame():
    masks = torch.zeros(3, 2, 8, 10, dtype=torch.bool)
    masks[0, 0, 2:5, 3:9] = True
    masks[1, :, 6:] = True
    masks[2, 1, 0, 0] = True
    targets = ClipTargets(torch.tensor([1, 4, 0]), torch.tensor([11, 12, 13]), masks, masks.flatten(2).any(-1))
    truth = frame_truth(targets, 0, num_things=3)
    assert truth.boxes.tolist() == [[3, 2, 9, 5]] and truth.labels.tolist() == [1] and truth.ids.tolist() == [11]
    assert set(truth.semantic.unique().tolist()) == {1, 4, 255} and truth.semantic[7, 0] == 4
    other = frame_truth(targets, 1, num_things=3)
    assert other.boxes.tolist() == [[0, 0, 1, 1]] and other.ids.tolist() == [13]
    assert mask_boxes(masks[:0, 0]).shape == (0, 4)


def test_mask_targets_are_those_of_mmdet_and_need_less_memory():
    from mmdet.structures.mask import BitmapMasks

    rng = np.random.default_rng(0)
    masks = np.kron(rng.random((6, 12, 16)) > 0.5, np.ones((1, 8, 8))).astype(np.uint8)
    boxes = np.array([[3.2, 4.1, 90.7, 60.3], [0, 0, 128, 96], [50, 50, 52, 53], [10.5, 20.5, 70.5, 95.0]], np.float32)
    indices = np.array([0, 3, 5, 1])
    theirs = BitmapMasks(masks, 96, 128).crop_and_resize(boxes, (28, 28), inds=indices, device='cpu').to_ndarray()
    ours = MaskCrops(torch.from_numpy(masks).bool()).crop_and_resize(boxes, (28, 28), inds=indices).to_ndarray()
    assert np.array_equal(theirs, ours)
    many = MaskCrops(torch.zeros(20, 800, 1600, dtype=torch.bool))
    boxes, indices = np.tile([[10.0, 10, 200, 200]], (128, 1)).astype(np.float32), np.arange(128) % 20
    assert 4 * largest(lambda: many.crop_and_resize(boxes, (28, 28), inds=indices)) <= 80e6


def test_masks_are_reduced_by_majority():
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[0, :4, :2] = True
    mask[0, 4:, 4:] = True
    assert binary_masks(mask, (2, 2)).tolist() == [[[True, False], [False, True]]]
    assert binary_masks(mask[:0], (2, 2)).shape == (0, 2, 2)


# -------------------------------------------------------------------------------------------------------------- flow


def texture(height=96, width=160, seed=0):
    g = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, height // 4 + 8, width // 4 + 8, generator=g)
    return (255 * F.interpolate(coarse, scale_factor=4, mode='bicubic').clamp(0, 1))[0].byte()


def shifted_pair(dx, dy, height=96, width=160):
    """A key frame and a reference in which everything lies (dx, dy) further."""
    big = texture(height, width)
    key = big[:, 16 : 16 + height, 16 : 16 + width]
    return key.clone(), big[:, 16 - dy : 16 - dy + height, 16 - dx : 16 - dx + width].clone()


@pytest.mark.parametrize('dx, dy', [(8, 4), (-6, 3), (0, -8)])
@pytest.mark.parametrize('scale', [1.0, 0.5])
def test_dis_finds_a_shift_and_its_sign(dx, dy, scale):
    key, reference = shifted_pair(dx, dy)
    flow = DISFlow(input_scale=scale)(key, reference[None])
    assert flow.shape == (1, 2, 24, 40)
    inner = flow[0, :, 4:-4, 4:-4]
    assert abs(float(inner[0].median()) - dx / 4) < 0.1 and abs(float(inner[1].median()) - dy / 4) < 0.1
    small = F.avg_pool2d(torch.stack([key, reference]).float(), 4)
    error = (warp(small[1:], flow)[0] - small[0])[:, 4:-4, 4:-4].abs().median()
    assert error < 0.5 * (small[1] - small[0])[:, 4:-4, 4:-4].abs().median()


def test_the_same_image_has_no_flow():
    key, _ = shifted_pair(0, 0)
    assert DISFlow()(key, key[None]).abs().max() < 0.05 and ZeroFlow()(key, key[None]).abs().max() == 0


def test_flow_of_flipped_frames():
    key, reference = shifted_pair(7, -3)
    flow, flipped = DISFlow()(key, reference[None]), DISFlow()(key.flip(-1), reference[None].flip(-1))
    mirrored = flow.flip(-1) * torch.tensor([-1.0, 1.0]).view(2, 1, 1)
    assert (mirrored - flipped)[..., 4:-4, 4:-4].abs().median() < 0.2


def test_small_and_odd_frames():
    key = texture(9, 13)[:, :9, :13]
    assert DISFlow()(key, key[None]).shape == (1, 2, 3, 4) == ZeroFlow()(key, key[None]).shape


def test_flow_follows_its_frames():
    flow = torch.zeros(2, 8, 12)
    flow[0], flow[1] = 3.0, -2.0
    assert (quarter_flow(flow, (2, 3))[0] == 0.75).all() and (quarter_flow(flow, (2, 3))[1] == -0.5).all()


@pytest.mark.parametrize('suffix', ['.flo', '.npz'])
def test_flow_files(tmp_path, suffix):
    flow = torch.randn(2, 96, 160, generator=torch.Generator().manual_seed(0))
    (tmp_path / 'video').mkdir()
    path = tmp_path / 'video' / f'00005__00004{suffix}'
    if suffix == '.flo':
        write_flow(path, flow)
        assert path.stat().st_size == 12 + 8 * 96 * 160
    else:
        np.savez(path, flow=flow.numpy())
    assert torch.equal(read_flow(path), flow)
    key = texture()[:, :96, :160]
    found = FlowFiles(str(tmp_path))(key, key[None], ('video', '00005', '00004'))
    torch.testing.assert_close(found[0], quarter_flow(flow, (24, 40)))
    with pytest.raises(DataError, match=r'there is no flow .*00006__00005.flo or .npz; compute it, or use DISFlow'):
        FlowFiles(str(tmp_path))(key, key[None], ('video', '00006', '00005'))
    with pytest.raises(DataError, match='FlowFiles needs the names of video and frames'):
        FlowFiles(str(tmp_path))(key, key[None])


def test_damaged_flow_files_are_named(tmp_path):
    for content in (b'', b'PIEH', b'text, not a flow'):
        (tmp_path / 'a.flo').write_bytes(content)
        with pytest.raises(DataError, match='a.flo cannot be read as optical flow'):
            read_flow(tmp_path / 'a.flo')


# ------------------------------------------------------------------------------------------------------- associators


def detections(boxes, labels, scores, embeds=None, size=(12, 16)):
    boxes = torch.tensor(boxes, dtype=torch.float32).view(-1, 4)
    masks = torch.zeros(len(boxes), *size)
    for mask, (x1, y1, x2, y2) in zip(masks, (boxes / 4).int().tolist()):
        mask[y1:y2, x1:x2] = 1
    embeds = None if embeds is None else torch.tensor(embeds, dtype=torch.float32).view(len(boxes), 3)
    return Detections(boxes, torch.tensor(labels).long(), torch.tensor(scores).float(), masks, embeds)


def affinity(first, second):
    """Ten times the product, against zero for a new object."""
    return torch.cat([torch.zeros(len(first), 1), 10 * (first @ second.T)], 1)


A, B, NEW = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]
LEFT, RIGHT = [0, 0, 16, 16], [40, 0, 56, 16]


def test_ranks_of_a_class():
    found = detections([LEFT, RIGHT, LEFT, RIGHT], [1, 0, 1, 1], [0.9, 0.8, 0.7, 0.6])
    numbers, memory = RankAssociator()(found, None, 0)
    assert numbers.tolist() == [1000, 0, 1001, 1002] and memory is None
    assert RankAssociator()(detections([], [], []), None, 0)[0].shape == (0,)


def test_appearance_decides():
    associate = AffinityAssociator(iou='none')
    numbers, memory = associate(detections([LEFT, RIGHT], [0, 0], [0.9, 0.8], [A, B]), None, 0, None, affinity)
    assert numbers.tolist() == [0, 1]
    found = detections([LEFT, RIGHT, RIGHT], [0, 0, 0], [0.9, 0.8, 0.7], [B, A, NEW])
    numbers, memory = associate(found, memory, 1, None, affinity)
    assert numbers.tolist() == [1, 0, 2] and memory.next_number == 3
    assert (
        memory.embeds[1].tolist() == B and memory.boxes[1].tolist() == LEFT and memory.last_seen.tolist() == [1, 1, 1]
    )


def test_of_two_claims_the_better_one_stands():
    associate = AffinityAssociator(iou='none')
    _, memory = associate(detections([LEFT], [0], [0.9], [A]), None, 0, None, affinity)
    numbers, after = associate(detections([LEFT, RIGHT], [0, 0], [0.9, 0.5], [A, A]), memory, 1, None, affinity)
    assert numbers.tolist() == [0, 1]
    numbers, _ = associate(detections([LEFT, RIGHT], [0, 0], [0.9, 0.9], [A, A]), memory, 1, None, affinity)
    assert numbers.tolist() == [0, 1]  # of equal ones, the first
    assert memory.next_number == 1  # the memory before is not changed


def test_another_class_is_another_object():
    associate = AffinityAssociator(iou='none')
    _, memory = associate(detections([LEFT], [0], [0.9], [A]), None, 0, None, affinity)
    numbers, memory = associate(detections([LEFT], [1], [0.9], [A]), memory, 1, None, affinity)
    assert numbers.tolist() == [1] and memory.labels.tolist() == [0, 1]


@pytest.mark.parametrize('cue', ['mask', 'box'])
def test_overlap_breaks_ties_of_appearance(cue):
    associate = AffinityAssociator(iou=cue)
    flow = torch.zeros(2, 12, 16)
    _, memory = associate(detections([LEFT, RIGHT], [0, 0], [0.9, 0.8], [A, A]), None, 0, None, affinity)
    numbers, _ = associate(detections([RIGHT, LEFT], [0, 0], [0.9, 0.8], [A, A]), memory, 1, flow, affinity)
    assert numbers.tolist() == [1, 0]


def test_masks_move_with_the_flow():
    associate = FlowIoUAssociator()
    numbers, memory = associate(detections([LEFT, RIGHT], [0, 0], [0.9, 0.8]), None, 0)
    assert numbers.tolist() == [0, 1]
    jump = detections([[20, 0, 36, 16]], [0], [0.9])
    assert associate(jump, memory, 1, torch.zeros(2, 12, 16))[0].tolist() == [2]  # overlaps with nothing
    flow = torch.zeros(2, 12, 16)
    flow[0] = -5  # what is at x was at x - 5, in cells of four pixels
    assert associate(jump, memory, 1, flow)[0].tolist() == [0]
    other = detections([[20, 0, 36, 16]], [1], [0.9])
    assert associate(other, memory, 1, flow)[0].tolist() == [2]  # another class
    assert moved(memory, flow).masks[0, 1, 5] == 1 and memory.masks[0, 1, 5] == 0


def test_empty_frames_keep_the_memory():
    for associate, extra in ((FlowIoUAssociator(), {}), (AffinityAssociator(), dict(affinity=affinity))):
        embeds = [A] if extra else None
        _, memory = associate(detections([LEFT], [0], [0.9], embeds), None, 0, **extra)
        empty = detections([], [], [], embeds and [])
        numbers, memory = associate(empty, memory, 1, torch.zeros(2, 12, 16), **extra)
        assert len(numbers) == 0 and len(memory.numbers) == 1
        numbers, _ = associate(detections([LEFT], [0], [0.9], embeds), memory, 2, torch.zeros(2, 12, 16), **extra)
        assert numbers.tolist() == [0]


def test_tracks_are_forgotten_after_a_while():
    associate = FlowIoUAssociator(forget_after=2)
    _, memory = associate(detections([LEFT], [0], [0.9]), None, 0)
    for frame in (1, 2, 3):
        _, memory = associate(detections([RIGHT], [0], [0.9]), memory, frame, torch.zeros(2, 12, 16))
    assert memory.numbers.tolist() == [1]
    assert associate(detections([LEFT], [0], [0.9]), memory, 4, torch.zeros(2, 12, 16))[0].tolist() == [2]


def test_an_affinity_is_needed():
    with pytest.raises(ValueError, match='AffinityAssociator needs a model with a track_head'):
        AffinityAssociator()(detections([LEFT], [0], [0.9]), None, 0)


def test_iou_of_masks():
    masks = torch.zeros(3, 4, 4)
    masks[0, :2], masks[1, 1:3] = 1, 1
    iou = mask_iou(masks, masks)
    assert iou[0, 1] == pytest.approx(1 / 3) and iou[0, 0] == 1 and iou[2, 2] == 0
