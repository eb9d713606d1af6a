"""The losses of CTVIS: equal to loops written from the formulas, and the segmenter that is trained with them."""

import math
import tracemalloc

import numpy as np
import pytest
import torch
from helpers import tiny

from mmdvis.models.functional.memory_contrast import Memory, mean_memory_contrast, memory_contrast
from mmdvis.models.losses.query_set_loss import QuerySetLoss
from mmdvis.models.segmenters.mask2former_segmenter import frame_slots
from mmdvis.registry import MODELS
from mmdvis.structures import ClipTargets, StepContext

CONTRAST = dict(contrast=2.0, cosine=3.0)


def cos(a, b):
    return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


def by_loops(embeds, slots, coins):
    """The formulas, one object and frame after another, with lists of numbers."""
    frames, queries, objects = len(embeds), len(embeds[0]), len(slots[0])
    bank, history = {}, {n: [] for n in range(objects)}
    contrasts, cosines = [], []
    for t in range(frames):
        for n in range(objects):
            if slots[t][n] < 0 or t == 0:
                continue
            anchor = embeds[t][slots[t][n]]
            if history[n]:
                positive = bank[n] if coins[t][n] else history[n][-1]
            else:
                later = [u for u in range(t + 1, frames) if slots[u][n] >= 0]
                if not later:
                    continue
                positive = embeds[later[0]][slots[later[0]][n]]
            negatives = [embeds[t - 1][q] for q in range(queries) if q != slots[t - 1][n]]
            total = sum(math.exp(dot(anchor, x) - dot(anchor, positive)) for x in negatives)
            contrasts.append(math.log(1 + total))
            terms = [(cos(anchor, positive) - 1) ** 2, *(cos(anchor, x) ** 2 for x in negatives)]
            cosines.append(sum(terms) / len(terms))
        for n in range(objects):
            if slots[t][n] >= 0:
                e = embeds[t][slots[t][n]]
                if not history[n]:
                    bank[n] = e
                else:
                    share = max(0.0, sum(cos(x, e) for x in history[n]) / len(history[n]))
                    bank[n] = [(1 - share) * b + share * x for b, x in zip(bank[n], e)]
                history[n].append(e)
    return contrasts, cosines


def random_clip(seed, frames=6, queries=9, channels=5, objects=4, absent=0.35):
    """Embeddings, slots with objects that hide, appear late or once, and coins."""
    rng = np.random.default_rng(seed)
    slots = np.stack([rng.permutation(queries)[:objects] for _ in range(frames)])
    slots[rng.random(slots.shape) < absent] = -1
    embeds = torch.from_numpy(rng.normal(size=(frames, queries, channels)))
    return embeds, torch.from_numpy(slots), torch.from_numpy(rng.random(slots.shape) < 0.5)


@pytest.mark.parametrize('seed', range(8))
def test_losses_equal_loops_over_the_formulas(seed):
    embeds, slots, coins = random_clip(seed)
    contrasts, cosines = memory_contrast(embeds, slots, coins)
    expected = by_loops(embeds.tolist(), slots.tolist(), coins.tolist())
    assert len(contrasts) == len(expected[0]) > 0
    np.testing.assert_allclose(sorted(contrasts.tolist()), sorted(expected[0]), rtol=1e-9)
    np.testing.assert_allclose(sorted(cosines.tolist()), sorted(expected[1]), rtol=1e-9)


def test_an_object_that_is_seen_once_or_never_is_no_item():
    embeds = torch.randn(3, 4, 5)
    for slots in ([[-1], [2], [-1]], [[0], [-1], [-1]], [[-1], [-1], [-1]]):
        losses = memory_contrast(embeds, torch.tensor(slots), torch.zeros(3, 1, dtype=torch.bool))
        assert [len(loss) for loss in losses] == [0, 0]
    losses = memory_contrast(embeds, torch.zeros(3, 0, dtype=torch.long), torch.zeros(3, 0, dtype=torch.bool))
    assert [len(loss) for loss in losses] == [0, 0]


@pytest.mark.parametrize('frames', [1, 3])
def test_without_items_the_loss_is_zero_and_has_a_gradient(frames):
    embeds = torch.randn(frames, 4, 5, requires_grad=True)
    losses = mean_memory_contrast([embeds], [torch.full((frames, 2), -1)], torch.Generator().manual_seed(0))
    assert [float(loss.detach()) for loss in losses] == [0.0, 0.0]
    sum(losses).backward()
    assert torch.equal(embeds.grad, torch.zeros_like(embeds))


def test_gradients_flow_through_the_memory():
    embeds, slots, _ = random_clip(1, absent=0.0)
    embeds.requires_grad_()
    coins = torch.ones(slots.shape, dtype=torch.bool)
    assert torch.autograd.gradcheck(lambda x: torch.cat(memory_contrast(x, slots, coins)), embeds)
    contrast, _ = memory_contrast(embeds, slots, coins)
    (gradient,) = torch.autograd.grad(contrast[-1], embeds)  # of an anchor in the last frame
    assert gradient[0, slots[0]].abs().sum() > 0  # the first frame is part of its bank


def test_an_opposite_embedding_does_not_enter_the_bank():
    memory = Memory.empty(1, torch.zeros(2)).after(torch.tensor([[1.0, 0.0]]), torch.tensor([True]))
    after = memory.after(torch.tensor([[-1.0, 0.1]]), torch.tensor([True]))
    assert torch.equal(after.bank, memory.bank) and after.last[0, 0] == -1
    hidden = after.after(torch.tensor([[5.0, 5.0]]), torch.tensor([False]))
    assert torch.equal(hidden.bank, after.bank) and torch.equal(hidden.last, after.last) and hidden.count == 2


def test_memory_is_bounded():
    """No copy of all queries for each object and frame: 10 frames, 200 queries, 30 objects add less than 50 MB."""
    embeds, slots, coins = random_clip(0, 10, 200, 256, 30, 0.2)
    embeds = embeds.float().requires_grad_()
    seen = []

    def note(tensor):
        seen.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        losses = memory_contrast(embeds, slots, coins)
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in seen}
    assert sum(storages.values()) < 50e6
    tracemalloc.start()
    sum(loss.mean() for loss in losses).backward()
    assert tracemalloc.get_traced_memory()[1] < 50e6


def clip_targets(visible):
    visible = torch.tensor(visible)
    masks = torch.zeros(*visible.shape, 64, 64, dtype=torch.bool)
    for n in range(len(visible)):
        masks[n, visible[n], 8 * n : 8 * n + 8, 4:40] = True
    return ClipTargets(torch.arange(len(visible)) % tiny.CLASSES, torch.arange(1, 1 + len(visible)), masks, visible)


def test_slots_follow_the_pairs_of_each_frame():
    targets = [clip_targets([[True, False, True], [True, True, False]])]
    pairs = [(np.array([4, 7]), np.array([1, 0])), (np.array([2]), np.array([0])), (np.array([3]), np.array([0]))]
    (slots,) = frame_slots(targets, pairs, torch.device('cpu'))
    assert slots.tolist() == [[7, 4], [-1, 2], [3, -1]]


def segmenter(**options):
    torch.manual_seed(0)
    return MODELS.build(dict(tiny.SEGMENTER, **{**dict(reid=True, normed_embeds=False), **options}))


def test_every_parameter_learns_and_a_step_lowers_the_loss():
    model, targets = segmenter(reid=CONTRAST), [clip_targets([[True, True, True], [True, False, True]])] * 2
    frames, context = torch.randn(2, 3, 3, 64, 64), StepContext(progress=0.5)
    losses = model.loss(frames, targets, context)
    assert {'loss_contrast', 'loss_cosine', 'loss_cls', 'd0.loss_mask'} <= set(losses)
    total = sum(losses.values())
    total.backward()
    missing = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing and model.reid_embed[0].weight.grad.abs().sum() > 0
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    values = []
    for _ in range(6):
        optimizer.zero_grad()
        losses = model.loss(frames, targets, context)
        values.append(losses['loss_contrast'] + losses['loss_cosine'])
        values[-1].backward()
        optimizer.step()
    assert values[-1] < values[0]


def test_the_set_loss_is_the_same_with_and_without_the_other_losses():
    targets, frames, context = (
        [clip_targets([[True, True], [False, True]])],
        torch.randn(1, 2, 3, 64, 64),
        StepContext(),
    )
    plain = MODELS.build(dict(tiny.SEGMENTER, normed_embeds=False))
    model = segmenter(reid=CONTRAST)
    plain.load_state_dict(model.state_dict(), strict=False)
    expected, found = plain.loss(frames, targets, context), model.loss(frames, targets, context)
    assert {name: value for name, value in found.items() if name in expected} == expected
    assert set(found) - set(expected) == {'loss_contrast', 'loss_cosine'}


def test_pairs_of_frames_are_those_of_the_loss():
    loss = QuerySetLoss(tiny.CLASSES, matching='frame', num_points=64)
    model = segmenter(reid=CONTRAST)
    targets, frames = [clip_targets([[True, True], [False, True]])], torch.randn(1, 2, 3, 64, 64)
    predictions = model.predict(*model.decode(frames))
    context = StepContext()
    pairs = loss.pairs(predictions, targets, context)
    assert [rows.shape[1] for rows, _ in pairs] == [1, 2]
    assert loss(predictions, targets, context, pairs=pairs) == loss(predictions, targets, context)


def test_options_that_contradict():
    with pytest.raises(ValueError, match='reid must be True, False or dict'):
        segmenter(reid=dict(contrast=2.0))
    with pytest.raises(ValueError, match='is trained with the losses of CTVIS; set reid='):
        segmenter().loss(torch.randn(1, 1, 3, 64, 64), [clip_targets([[True]])], StepContext())
