"""Tracker and refiner compared with plain float64 loops that follow the formulas of the paper."""

import pytest
import torch
import torch.nn.functional as F
from helpers import tiny
from scipy.optimize import linear_sum_assignment
from torch import nn

from mmdvis.models.refiners import TemporalRefiner
from mmdvis.models.trackers import CosineTracker, DVISTracker
from mmdvis.structures import FrameQueries


def double(queries):
    """Convert frame queries to float64."""
    values = {name: getattr(queries, name) for name in queries.AXES}
    return FrameQueries(**{name: x.double() if x.is_floating_point() else x for name, x in values.items()})


def attend(attention, query, memory):
    """Attention of (Q, C) to (S, C) with the module of PyTorch."""
    torch_attention = nn.MultiheadAttention(query.shape[-1], attention.num_heads, dtype=torch.float64)
    torch_attention.load_state_dict(attention.state_dict())
    return torch_attention(query[:, None], memory[:, None], memory[:, None])[0][:, 0]


def feed(ffn, x):
    """x + W2 relu(W1 x)."""
    (first, _, _), second = ffn.layers[0], ffn.layers[1]
    return x + second(F.relu(first(x)))


def referring_block(layer, identity, reference, frame):
    """RCA, self-attention, feed-forward: the residual of RCA is the identity, not the query."""
    x = layer.norms[0](identity + attend(layer.rca, reference, frame))
    x = layer.norms[1](x + attend(layer.self_attn, x, x))
    return layer.norms[2](feed(layer.ffn, x))


def match(reference, current):
    """Return the matched column of each reference row, by cosine distance."""
    cost = 1 - F.normalize(reference, dim=-1) @ F.normalize(current, dim=-1).T
    return torch.as_tensor(linear_sum_assignment(cost.numpy())[1])


def track(tracker, embeds, inverse=False, start='matched', standard=False):
    """Return the outputs of the last block of every frame, for embeddings (T, Q, C).

    ``start``: table 6 of the paper. ``standard``: table 7, where the identity of equation 2 is the query.
    """
    outputs, chain = [], None
    for frame in embeds:
        if chain is None:
            chain, x = frame, frame
            for layer in tracker.layers:
                x = referring_block(layer, x, x, frame)
        else:
            order = match(chain, frame)
            order = order.argsort() if inverse else order
            chain = frame[order]
            x = dict(matched=chain, unmatched=frame, output=outputs[-1], zero=torch.zeros_like(frame))[start]
            for layer in tracker.layers:
                x = referring_block(layer, outputs[-1] if standard else x, outputs[-1], frame)
        outputs.append(x)
    return torch.stack(outputs)


@pytest.mark.parametrize('legacy', [False, True])
@torch.no_grad()
def test_the_tracker_equals_its_formulas(legacy):
    torch.manual_seed(0)
    tracker = DVISTracker(**tiny.COMMON, legacy_inverse_match=legacy).double().eval()
    queries = double(tiny.frame_queries(5))
    expected = tracker.decoder_norm(track(tracker, queries.embeds[0], legacy))
    tracks, state = tracker(queries)
    torch.testing.assert_close(tracks.embeds[0], expected, atol=1e-9, rtol=1e-7)
    torch.testing.assert_close(tracks.class_logits[0], tracker.cls_embed(expected), atol=1e-9, rtol=1e-7)
    torch.testing.assert_close(tracks.mask_embeds[0], tracker.mask_embed(expected), atol=1e-9, rtol=1e-7)
    torch.testing.assert_close(tracker.decoder_norm(state.outputs[0]), expected[-1], atol=1e-9, rtol=1e-7)


CASES = [('matched', False), ('unmatched', False), ('output', False), ('zero', False), ('matched', True)]


@pytest.mark.parametrize('start, standard', CASES)
@torch.no_grad()
def test_the_ablations_of_the_tracker_equal_their_formulas(start, standard):
    torch.manual_seed(0)
    kind = 'standard' if standard else 'referring'
    options = dict(tiny.COMMON, decoder=dict(tiny.COMMON['decoder'], cross_attention=kind), start=start)
    tracker, queries = DVISTracker(**options).double().eval(), double(tiny.frame_queries(5))
    expected = tracker.decoder_norm(track(tracker, queries.embeds[0], start=start, standard=standard))
    torch.testing.assert_close(tracker(queries)[0].embeds[0], expected, atol=1e-9, rtol=1e-7)


@torch.no_grad()
def test_standard_attention_cuts_the_chain_of_blocks():
    """After the first frame, only the last block has an effect (table 7 of the paper, a loss of 2.9 AP)."""
    options = dict(tiny.COMMON, decoder=dict(tiny.COMMON['decoder'], cross_attention='standard'))
    tracker, queries = DVISTracker(**options).eval(), tiny.frame_queries(4)
    _, state = tracker(tiny.part(queries, 0, 1))
    before = tracker(tiny.part(queries, 1, 2), state)[0].embeds
    for parameter in tracker.layers[0].parameters():
        nn.init.normal_(parameter)
    assert torch.equal(tracker(tiny.part(queries, 1, 2), state)[0].embeds, before)
    assert not torch.equal(tracker(tiny.part(queries, 0, 1))[0].embeds, tracker(tiny.part(queries, 2, 3))[0].embeds)


def test_an_attention_that_there_is_not():
    with pytest.raises(ValueError, match="cross_attention must be 'referring' or 'standard', got 'none'"):
        DVISTracker(3, decoder=dict(cross_attention='none'))


def test_both_directions_of_matching_differ_here():
    """The two directions differ for these queries, so the tests cover ``legacy_inverse_match``."""
    torch.manual_seed(0)
    embeds = double(tiny.frame_queries(5)).embeds[0]
    order = match(embeds[0], embeds[1])
    assert not torch.equal(order, order.argsort())


@torch.no_grad()
def test_minvis_equals_its_formula():
    queries = double(tiny.frame_queries(5))
    tracks, _ = CosineTracker()(queries)
    previous = queries.embeds[0, 0]
    for t in range(1, 5):
        order = match(previous, queries.embeds[0, t])
        previous = queries.embeds[0, t][order]
        torch.testing.assert_close(tracks.embeds[0, t], previous)
        torch.testing.assert_close(tracks.class_logits[0, t], queries.class_logits[0, t][order])


def replicate_conv(conv, x):
    """Temporal convolution of (T, C) with replicate padding."""
    reach = conv.kernel_size[0] // 2
    padded = torch.cat([x[:1].expand(reach, -1), x, x[-1:].expand(reach, -1)])
    return torch.stack(
        [sum(conv.weight[:, :, k] @ padded[t + k] for k in range(2 * reach + 1)) + conv.bias for t in range(len(x))]
    )


def temporal_block(layer, x, context, without=()):
    """Apply a refiner block to x and context, both (T, Q, C), without the parts named in ``without``.

    The order is time attention, convolution, object attention, cross attention to the frame, feed-forward.
    """
    frames, slots = x.shape[:2]
    if 'time_attention' not in without:
        x = layer.norms[0](x + torch.stack([attend(layer.time_attn, x[:, q], x[:, q]) for q in range(slots)], 1))
    if 'convolution' not in without:
        short = torch.stack(
            [replicate_conv(layer.conv[2], F.relu(replicate_conv(layer.conv[0], x[:, q]))) for q in range(slots)], 1
        )
        x = layer.norms[1](x + short)
    x = layer.norms[2](x + torch.stack([attend(layer.object_attn, x[t], x[t]) for t in range(frames)]))
    if 'cross_attention' not in without:
        x = layer.norms[3](x + torch.stack([attend(layer.cross_attn, x[t], context[t]) for t in range(frames)]))
    return layer.norms[4](feed(layer.ffn, x))


@pytest.mark.parametrize('without', [(), ('time_attention',), ('convolution',), ('cross_attention',)], ids=str)
@torch.no_grad()
def test_the_refiner_equals_its_formulas(without):
    """This holds for the full refiner and for the ablations in table 8 of the paper."""
    torch.manual_seed(0)
    decoder = dict(tiny.COMMON['decoder'], **dict.fromkeys(without, False))
    refiner = TemporalRefiner(**dict(tiny.COMMON, decoder=decoder)).double().eval()
    tracks, _ = CosineTracker()(double(tiny.frame_queries(6)))
    x = tracks.embeds[0]
    for layer in refiner.layers:
        x = temporal_block(layer, x, tracks.context[0], without)
    x = refiner.decoder_norm(x)
    weight = refiner.activation_proj(x).softmax(0)  # over time
    expected = refiner.cls_embed((weight * x).sum(0))
    refined = refiner(tracks)
    torch.testing.assert_close(refined.mask_embeds[0], refiner.mask_embed(x), atol=1e-9, rtol=1e-7)
    for t in range(6):
        torch.testing.assert_close(refined.class_logits[0, t], expected, atol=1e-9, rtol=1e-7)
