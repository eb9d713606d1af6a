"""Query noise for the tracker and contrastive losses, checked by hand and by invariants."""

import math

import pytest
import torch
from helpers import tiny

from mmdvis.models.functional.contrastive import contrastive_loss, neighbour_contrastive_loss, track_contrastive_loss
from mmdvis.models.functional.matching import track_orders
from mmdvis.models.functional.query_noise import NoiseDraw, QueryNoise, noisy_orders
from mmdvis.registry import MODELS
from mmdvis.structures import StepContext

SLOTS = 4


def clip(frames=4, seed=0):
    """Return queries of a clip with permuted frames, and the orders: row p[t][q] of frame t is object q."""
    g = torch.Generator().manual_seed(seed)
    objects = torch.eye(SLOTS, 6)
    orders = [torch.arange(SLOTS), *(torch.randperm(SLOTS, generator=g) for _ in range(frames - 1))]
    embeds = torch.zeros(1, frames, SLOTS, 6)
    for t, order in enumerate(orders):
        embeds[0, t, order] = objects + 0.01 * torch.randn(SLOTS, 6, generator=g)
    return embeds, torch.stack(orders)[None]


def draw(active, partner, share, is_own):
    return NoiseDraw(
        torch.tensor([active]), torch.tensor([partner]), torch.as_tensor(share)[None], torch.tensor([is_own])
    )


def noise_at(frame, frames, partner, share, is_own):
    """Return noise that is active in one frame only; share has shape (Q, 1) or (Q, C)."""
    share = torch.as_tensor(share)
    whole = torch.zeros(frames, *share.shape, dtype=share.dtype)
    whole[frame] = share
    return draw([t == frame for t in range(frames)], [partner] * frames, whole, [is_own] * frames)


SIGMA = [2, 0, 3, 1]


@pytest.mark.parametrize('base', ('raw', 'matched'))
@pytest.mark.parametrize('frames', (4, 6))
def test_a_clean_chain_goes_on_as_without_noise(base, frames):
    """Slot i starts from E[sigma(i)] in the noisy frame only; tracks and all other frames are those without noise."""
    embeds, orders = clip(frames)
    noisy = noisy_orders(embeds, noise_at(2, frames, SIGMA, [[0.0]] * SLOTS, [False] * SLOTS), base)
    assert torch.equal(noisy.kept, orders)
    mixed, clean = noisy.mix(embeds), embeds.take_along_dim(orders[..., None], 2)
    start = torch.arange(SLOTS) if base == 'raw' else orders[0, 2]
    assert torch.equal(mixed[0, 2], embeds[0, 2, start[torch.tensor(SIGMA)]])
    others = [t for t in range(frames) if t != 2]
    assert torch.equal(mixed[:, others], clean[:, others]) and not torch.equal(mixed[:, 2], clean[:, 2])


def test_half_of_the_frames_noisy_leave_the_other_half_as_it_is():
    embeds, orders = clip(20)
    drawn = QueryNoise('shuffle', 0.5).draw(1, 20, SLOTS, 6, torch.Generator().manual_seed(2))
    for base in ('raw', 'matched'):
        clean, chained = (noisy_orders(embeds, drawn, base, chain=chain) for chain in ('clean', 'noisy'))
        quiet = ~drawn.active[0]
        expected = embeds.take_along_dim(orders[..., None], 2)[0]
        assert torch.equal(clean.mix(embeds)[0, quiet], expected[quiet])
        changed = (chained.mix(embeds)[0, quiet] != expected[quiet]).any(-1).any(-1)
        assert changed.float().mean() > 0.5  # with a noisy chain, most frames without noise start wrongly, too


@pytest.mark.parametrize('chain', ('clean', 'noisy'))
def test_the_guide_of_the_loss_follows_the_chain(chain):
    """Guided matching sees the predictions of the segmenter in the order of the chain."""
    model = tracker(noise=dict(mode='weighted', ratio=1.0, partner='iid', base='matched', chain=chain)).train()
    queries = tiny.frame_queries(5)
    orders, _ = model.training_starts(queries, StepContext(0.1, 0, 0, 3))
    whole = [len(set(order.tolist())) == order.numel() for order in orders[0]]
    assert all(whole) == (chain == 'clean')
    assert chain == 'noisy' or torch.equal(orders, model.orders(queries, None))


@pytest.mark.parametrize('base', ('raw', 'matched'))
def test_shuffled_queries(base):
    """Slot i holds E[sigma(i)], and with a noisy chain the next frame is matched to the noised slots."""
    embeds, orders = clip()
    noisy = noisy_orders(embeds, noise_at(2, 4, SIGMA, [[0.0]] * SLOTS, [False] * SLOTS), base, chain='noisy')
    assert noisy.kept[0, :2].tolist() == orders[0, :2].tolist()
    start = torch.arange(SLOTS) if base == 'raw' else orders[0, 2]
    expected = start[torch.tensor(SIGMA)]
    assert noisy.kept[0, 2].tolist() == expected.tolist()
    assert torch.equal(noisy.mix(embeds)[0, 2], embeds[0, 2, expected])
    object_of = {int(row): q for q, row in enumerate(orders[0, 2])}  # row of frame 2 -> object
    assert noisy.kept[0, 3].tolist() == [int(orders[0, 3, object_of[int(row)]]) for row in expected]
    assert torch.equal(noisy.mix(embeds)[0, 3], embeds[0, 3, noisy.kept[0, 3]])


@pytest.mark.parametrize('base', ('raw', 'matched'))
def test_weighted_means(base):
    """Slot i holds a E[i] + (1 - a) E[sigma(i)] and keeps its own identity for a >= 0.5."""
    embeds, orders = clip()
    share = torch.tensor([[0.25], [0.5], [0.75], [1.0]])
    noisy = noisy_orders(embeds, noise_at(1, 4, SIGMA, share, (share[:, 0] >= 0.5).tolist()), base, chain='noisy')
    own = torch.arange(SLOTS) if base == 'raw' else orders[0, 1]
    other = own[torch.tensor(SIGMA)]
    for i in range(SLOTS):
        a = float(share[i])
        expected = a * embeds[0, 1, own[i]] + (1 - a) * embeds[0, 1, other[i]]
        torch.testing.assert_close(noisy.mix(embeds)[0, 1, i], expected)
    assert noisy.kept[0, 1].tolist() == [int(other[0]), int(own[1]), int(own[2]), int(own[3])]


def test_cropped_channels():
    """Channels below k come from E[i], the others from E[sigma(i)]; slot i keeps its own identity for k >= C / 2."""
    embeds, _ = clip()
    cuts = torch.tensor([0, 2, 3, 5])
    share = torch.arange(6) < cuts[:, None]
    noisy = noisy_orders(embeds, noise_at(1, 4, SIGMA, share, (cuts >= 3).tolist()), 'raw', chain='noisy')
    mixed = noisy.mix(embeds)[0, 1]
    for i, k in enumerate(cuts.tolist()):
        assert torch.equal(mixed[i, :k], embeds[0, 1, i, :k]) and torch.equal(mixed[i, k:], embeds[0, 1, SIGMA[i], k:])
    assert noisy.kept[0, 1].tolist() == [2, 0, 2, 3]


def test_what_is_drawn():
    generator = torch.Generator().manual_seed(0)
    shuffled = QueryNoise('shuffle', partner='iid').draw(3, 5, 7, 6, generator)
    assert (
        all(sorted(row.tolist()) == list(range(7)) for row in shuffled.partner.flatten(0, 1))
        and not shuffled.is_own.any()
    )
    weighted = QueryNoise('weighted').draw(3, 5, 7, 6, generator)
    assert weighted.share.shape == (3, 5, 7, 1) and torch.equal(weighted.is_own, weighted.share[..., 0] >= 0.5)
    assert all(sorted(row.tolist()) == list(range(7)) for row in weighted.partner.flatten(0, 1))
    alone = QueryNoise('weighted', partner='iid').draw(3, 5, 7, 6, generator)
    assert any(len(set(row.tolist())) < 7 for row in alone.partner.flatten(0, 1))
    cropped = QueryNoise('crop_concat').draw(3, 5, 7, 6, generator)
    cuts = cropped.share.sum(-1)
    assert cropped.share.dtype == torch.bool and torch.equal(cropped.is_own, cuts >= 3) and int(cuts.max()) <= 5
    assert torch.equal(cropped.share, torch.arange(6) < cuts[..., None])
    for noise in (shuffled, weighted, alone, cropped):
        assert not noise.active[:, 0].any()  # the first frame has no noise


@pytest.mark.parametrize('ratio', (0.2, 0.5, 0.8))
def test_the_rate_is_what_was_asked_for(ratio):
    active = QueryNoise('weighted', ratio).draw(200, 21, 3, 4, torch.Generator().manual_seed(1)).active[:, 1:]
    number = active.numel()
    assert abs(float(active.float().mean()) - ratio) < 3 * math.sqrt(ratio * (1 - ratio) / number)


def test_without_noise_the_orders_are_those_of_matching():
    embeds, orders = clip(6)
    quiet = QueryNoise('shuffle', 0.0).draw(1, 6, SLOTS, 6, torch.Generator())
    noisy = noisy_orders(embeds, quiet, 'raw')
    assert torch.equal(noisy.kept, orders) and torch.equal(noisy.kept, track_orders(embeds))
    assert torch.equal(noisy.mix(embeds), embeds.take_along_dim(orders[..., None], 2))
    assert torch.equal(noisy_orders(embeds, quiet, 'raw', inverse=True).kept, track_orders(embeds, inverse=True))


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(mode='swap'), "mode must be 'shuffle' or 'weighted' or 'crop_concat', got 'swap'"),
        (dict(ratio=1.5), r'ratio must be a probability in \[0, 1\], got 1.5'),
        (dict(partner='all'), 'partner must be'),
        (dict(base='sorted'), 'base must be'),
        (dict(chain='broken'), 'chain must be'),
    ],
)
def test_impossible_noise(options, message):
    with pytest.raises(ValueError, match=message):
        QueryNoise(**options)


def tracker(name='dvis', seed=0, **options):
    torch.manual_seed(seed)
    return MODELS.build(dict(tiny.TRACKERS[name], **options))


def losses(model, iteration=3):
    return model.loss(tiny.frame_queries(5), [tiny.targets(5, (32, 48))], StepContext(0.1, 0, 0, iteration))


@pytest.mark.parametrize('name', ('dvis', 'dvis_plus'))
def test_ratio_zero_changes_no_bit(name):
    plain, quiet = tracker(name).train(), tracker(name, noise=dict(mode='shuffle', ratio=0.0)).train()
    for iteration in range(2):
        a, b = losses(plain, iteration), losses(quiet, iteration)
        assert all(torch.equal(a[key], b[key]) for key in a)
        for model, values in ((plain, a), (quiet, b)):
            model.zero_grad()
            sum(values.values()).backward()
        assert all(torch.equal(p.grad, q.grad) for p, q in zip(plain.parameters(), quiet.parameters()))


@pytest.mark.parametrize('name', ('dvis', 'dvis_plus'))
@pytest.mark.parametrize('mode', ('shuffle', 'weighted', 'crop_concat'))
def test_noise_is_for_training_only(name, mode):
    plain, noisy = tracker(name), tracker(name, noise=dict(mode=mode, ratio=1.0))
    queries = tiny.frame_queries(5)
    for evaluate in (lambda model: model.eval()(queries)[0].embeds, lambda model: model.train()(queries)[0].embeds):
        assert torch.equal(evaluate(plain), evaluate(noisy))  # later stages get queries without noise, in training, too
    assert all(torch.equal(losses(plain.eval())[key], value) for key, value in losses(noisy.eval()).items())
    a, b = losses(plain.train()), losses(noisy.train())
    assert any(not torch.equal(a[key], b[key]) for key in a)
    assert all(torch.equal(b[key], value) for key, value in losses(noisy).items())  # same iteration, same noise
    assert any(not torch.equal(b[key], value) for key, value in losses(noisy, 4).items())


def test_noise_needs_matched_queries():
    with pytest.raises(ValueError, match="so start must be 'matched', got 'zero'"):
        tracker(start='zero', noise=dict())


def test_contrast_by_hand():
    anchor, good = torch.tensor([[1.0, 2.0]]), torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])  # dot products 1, 2
    bad = torch.tensor([[[2.0, 1.0], [5.0, 5.0]]])  # dot products 4, 15; the second is masked out
    expected = math.log(1 + math.exp(4 - 1) + math.exp(4 - 2))
    assert float(contrastive_loss(anchor, good, bad, torch.tensor([[True, False]]))) == pytest.approx(expected)
    assert float(contrastive_loss(anchor, good, bad, torch.tensor([[False, False]]))) == 0.0


def test_contrast_of_neighbours_in_loops():
    torch.manual_seed(0)
    references, slots, items = torch.randn(4, 5, 3), torch.tensor([1, 3]), []
    for t in range(1, 4):
        for s in slots.tolist():
            for near in (t - 1, t + 1):
                if near < 4:
                    total = 1.0
                    own = float(references[t, s] @ references[near, s])
                    for q in range(5):
                        if q != s:
                            total += math.exp(float(references[t, s] @ references[near, q]) - own)
                    items.append(math.log(total))
    assert float(neighbour_contrastive_loss(references, slots)) == pytest.approx(sum(items) / len(items), rel=1e-5)


def test_contrast_of_tracks_in_loops():
    torch.manual_seed(0)
    queries, slots, items = 0.5 * torch.randn(3, 4, 3), torch.tensor([0, 2]), []
    for t in range(3):
        for s in slots.tolist():
            total = 1.0
            for other in range(3):
                for q in range(4):
                    if q != s:
                        total += math.exp(float(queries[t, s] @ queries[t, q] - queries[t, s] @ queries[other, s]))
            items.append(math.log(total))
    assert float(track_contrastive_loss(queries, slots)) == pytest.approx(sum(items) / len(items), rel=1e-5)


def test_pairs_of_contrast_are_those_of_the_set_loss_under_autocast():
    """Both are matched in float32."""
    model, queries, targets = tracker().train(), tiny.frame_queries(5), [tiny.targets(5, (32, 48))]
    orders, starts = model.training_starts(queries, StepContext())
    layers = model.predict(model.decode_clip(queries, starts, None), queries.mask_features)
    plain = model.criterion.pairs(layers.layers(slice(-1, None)), targets, StepContext())
    with torch.autocast('cpu', torch.bfloat16):
        cast = model.criterion.pairs(layers.layers(slice(-1, None)), targets, StepContext())
    assert all((a == b).all() for first, second in zip(plain, cast) for a, b in zip(first, second))


@pytest.mark.parametrize('objects', (True, False))
def test_stages_with_contrast_learn(objects):
    targets = tiny.targets(5, (32, 48), objects=((2, 0), (4, 1)) if objects else ())
    queries = tiny.frame_queries(5)
    model = tracker('dvis_plus', loss=dict(tiny.LOSS, matching='first_appearance', contrast=2.0)).train()
    values = model.loss(queries, [targets], StepContext(0.1))
    plain = tracker('dvis_plus').train().loss(queries, [targets], StepContext(0.1))
    assert values.keys() - plain.keys() == {'loss_contrast'} and all(
        torch.equal(values[key], plain[key]) for key in plain
    )
    assert (float(values['loss_contrast'].detach()) > 0) == objects and torch.isfinite(values['loss_contrast'])
    sum(values.values()).backward()
    assert all(p.grad is not None for p in model.parameters())
    torch.manual_seed(0)
    refiner = MODELS.build(dict(tiny.REFINER, loss=dict(tiny.LOSS, matching='video', contrast=2.0))).train()
    values = refiner.loss(model(queries)[0], [targets], StepContext(0.1))
    assert torch.isfinite(values['loss_contrast']) and (float(values['loss_contrast'].detach()) > 0) == objects
    sum(values.values()).backward()
