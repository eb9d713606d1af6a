"""Behaviour of individual trackers."""

import pytest
import torch
from helpers import tiny
from scipy.optimize import linear_sum_assignment

from mmdvis.models.functional.matching import chain_orders, cosine_distance, track_orders
from mmdvis.models.trackers import CosineTracker, DVISTracker
from mmdvis.structures import FrameQueries, StepContext


def shuffled_clip(num_frames=4, noise=0.01):
    """Return embeddings (1, T, Q, D) whose frames are permutations of one set, and the permutations."""
    g = torch.Generator().manual_seed(0)
    base = torch.randn(9, 12, generator=g)
    perms = [torch.arange(9), *(torch.randperm(9, generator=g) for _ in range(num_frames - 1))]
    frames = [base[p] + noise * torch.randn(9, 12, generator=g) for p in perms]
    return torch.stack(frames)[None], perms


def test_matching_undoes_any_permutation():
    clip, perms = shuffled_clip()
    order = track_orders(clip)
    for t, perm in enumerate(perms):
        assert torch.equal(perm[order[0, t]], torch.arange(9))


def test_legacy_matching_gathers_with_the_inverse():
    clip, perms = shuffled_clip(2)
    right, legacy = track_orders(clip), track_orders(clip, inverse=True)
    assert torch.equal(legacy[0, 1], right[0, 1].argsort())
    assert not torch.equal(legacy, right)


def test_chain_equals_matching_frame_by_frame():
    from scipy.optimize import linear_sum_assignment

    g = torch.Generator().manual_seed(1)
    clip, reference = torch.randn(2, 5, 6, 8, generator=g), torch.randn(2, 6, 8, generator=g)
    for inverse in (False, True):
        orders = chain_orders(clip, reference, inverse)
        for b in range(2):
            previous = reference[b]
            for t in range(5):
                cost = (
                    1
                    - torch.nn.functional.normalize(previous, dim=-1)
                    @ torch.nn.functional.normalize(clip[b, t], dim=-1).T
                )
                expected = torch.as_tensor(linear_sum_assignment(cost.numpy())[1])
                expected = expected.argsort() if inverse else expected
                assert torch.equal(orders[b, t], expected)
                previous = clip[b, t][expected]


def test_cosine_distance_of_known_vectors():
    a = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    b = torch.tensor([[3.0, 0.0], [-1.0, 0.0], [1.0, 1.0]])
    expected = torch.tensor([[0.0, 2.0, 1 - 0.5**0.5], [1.0, 1.0, 1 - 0.5**0.5]])
    torch.testing.assert_close(cosine_distance(a, b), expected, atol=1e-5, rtol=0)


def test_cosine_tracker_moves_whole_rows():
    queries = tiny.frame_queries(3)
    tracks, _ = CosineTracker()(queries)
    order = track_orders(queries.match_embeds)
    for t in range(3):
        for name in ('embeds', 'class_logits', 'mask_embeds'):
            assert torch.equal(getattr(tracks, name)[0, t], getattr(queries, name)[0, t][order[0, t]])


def test_parameter_count_is_that_of_the_paper():
    def count(num_classes):
        return sum(p.numel() for p in DVISTracker(num_classes).parameters())

    assert count(25) == 9_677_082
    assert count(124) == 9_702_525


def test_context_of_the_first_frame_is_what_a_video_of_that_frame_gives():
    torch.manual_seed(0)
    tracker = DVISTracker(**{**tiny.COMMON, 'context': 'first_frame'}).eval()
    queries = tiny.frame_queries(3)
    with torch.no_grad():
        tracks, _ = tracker(queries)
        for t in range(3):
            alone, _ = tracker(tiny.part(queries, t, t + 1))
            torch.testing.assert_close(tracks.context[:, t], alone.embeds[:, 0], atol=1e-5, rtol=1e-4)


def test_unknown_context_is_refused():
    with pytest.raises(ValueError, match="'embeds' or 'first_frame', got 'last'"):
        DVISTracker(5, context='last')


def test_gradients_run_through_the_chain_of_frames():
    tracker = DVISTracker(**tiny.COMMON)
    queries = tiny.frame_queries(3)
    embeds = queries.embeds.clone().requires_grad_()
    from dataclasses import replace

    tracks, _ = tracker(replace(queries, embeds=embeds))
    tracks.class_logits[:, 2].sum().backward()
    assert embeds.grad[:, 0].abs().sum() > 0  # the third frame depends on the first through the outputs


def test_gradients_of_the_tracker_agree_with_finite_differences():
    torch.manual_seed(0)
    tracker = DVISTracker(**{**tiny.COMMON, 'decoder': dict(tiny.COMMON['decoder'], num_layers=1)}).double()
    start, frame, last = (torch.randn(1, 3, tiny.WIDTH, dtype=torch.float64, requires_grad=True) for _ in range(3))
    assert torch.autograd.gradcheck(lambda *x: tracker.decode(*x)[-1], (start, frame, last), atol=1e-5)


def test_loss_covers_every_layer():
    from mmdvis.registry import MODELS

    tracker = MODELS.build(tiny.TRACKERS['dvis'])
    losses = tracker.loss(tiny.frame_queries(4), [tiny.targets(4, (32, 48))], StepContext())
    assert set(losses) == {f'{p}loss_{n}' for p in ('', 'd0.') for n in ('cls', 'mask', 'dice')}
    assert all(torch.isfinite(x) for x in losses.values())


def test_a_part_of_no_channels_is_refused():
    with pytest.raises(ValueError, match='last_channels must be positive, got 0; use None to compare all channels'):
        CosineTracker(last_channels=0)


def hidden_and_back(num_hidden=2):
    """Queries (B = 1, Q = 4) of three objects and a background query; object 0 is hidden for some frames.

    While it is hidden, its query and the background query have random embeddings and no class.
    """
    g = torch.Generator().manual_seed(3)
    base = torch.eye(4, 16)
    num_frames = num_hidden + 3
    embeds = (base + 0.05 * torch.randn(num_frames, 4, 16, generator=g))[None]
    logits = torch.full((1, num_frames, 4, tiny.CLASSES + 1), -4.0)
    logits[..., :3, 0] = 4.0
    logits[..., 3, -1] = 4.0
    for t in range(1, 1 + num_hidden):
        logits[0, t, 0] = logits[0, t, 3].clone()
        embeds[0, t, [0, 3]] = torch.randn(2, 16, generator=g)
    perms = torch.stack([torch.randperm(4, generator=g) for _ in range(num_frames)])[None]
    perms[0, 0] = torch.arange(4)
    present = torch.ones(1, num_frames, dtype=torch.bool)
    features = torch.zeros(1, num_frames, 16, 2, 2)
    return FrameQueries(embeds, embeds, logits, embeds, features, present).select_rows(perms), perms


def test_a_memory_finds_a_hidden_object_again():
    found = {memory: [] for memory in (None, 0.5)}
    for num_hidden in (1, 2, 3, 4, 5, 6):
        queries, perms = hidden_and_back(num_hidden)
        for memory in found:
            tracks, state = CosineTracker(memory=memory)(queries)
            truth = torch.eye(4, 16)[:3]
            rows = tracks.embeds[0, :, :3]
            is_right = torch.nn.functional.cosine_similarity(rows, truth[None], dim=-1) > 0.8
            assert is_right[:, 1:].all()  # objects that stay in view
            found[memory].append(bool(is_right[-2:, 0].all()))
    assert all(found[0.5]) and not all(found[None])


def test_the_memory_is_fused_as_in_ctvis():
    """By a loop over rows and frames, with the formulas of the paper."""
    queries, visible = tiny.frame_queries(5, 2), None
    visible = queries.class_logits.softmax(-1)[..., :-1].amax(-1) > 0.35
    assert 0.2 < visible.float().mean() < 0.8
    tracks, state = CosineTracker(memory=0.35)(queries)
    for b in range(2):
        earlier, bank, order = [[] for _ in range(tiny.QUERIES)], [None] * tiny.QUERIES, list(range(tiny.QUERIES))
        for t in range(5):
            embeds = queries.match_embeds[b, t]
            if t:
                known = torch.stack(bank)
                costs = 1 - torch.nn.functional.normalize(known, dim=1) @ torch.nn.functional.normalize(embeds, dim=1).T
                order = linear_sum_assignment(costs.numpy())[1].tolist()
            for q, row in enumerate(order):
                e = embeds[row]
                if visible[b, t, row] and earlier[q]:
                    beta = max(0.0, sum(float(torch.cosine_similarity(x, e, 0)) for x in earlier[q]) / len(earlier[q]))
                    bank[q] = (1 - beta) * bank[q] + beta * e
                elif visible[b, t, row] or not earlier[q]:
                    bank[q] = e
                if visible[b, t, row]:
                    earlier[q].append(e)
            torch.testing.assert_close(tracks.embeds[b, t], queries.embeds[b, t, order])
        seen = [q for q in range(tiny.QUERIES) if earlier[q]]
        torch.testing.assert_close(state.bank[b, seen], torch.stack([bank[q] for q in seen]), atol=1e-5, rtol=1e-4)
        assert state.count[b].tolist() == [len(frames) for frames in earlier]


def test_a_memory_needs_a_probability():
    with pytest.raises(ValueError, match='memory must be a probability from 0 to 1, or None .*, got 2'):
        CosineTracker(memory=2)
