"""Recomputed values have the gradients of stored values."""

import torch

from mmdvis.models.functional.recompute import Recomputed


def function(x, y, z):
    return (x * y).sum(1), (x.exp() if z is None else x * z).sum(1)


def test_gradients_are_those_of_the_function():
    x, y = torch.randn(3, 4, dtype=torch.float64).requires_grad_(), torch.randn(3, 4, dtype=torch.float64)
    for third in (None, torch.randn(3, 4, dtype=torch.float64).requires_grad_()):
        leaves = [x] if third is None else [x, third]
        with torch.no_grad():
            values = function(x, y, third)
        again, kept = Recomputed.apply(function, values, x, y, third), function(x, y, third)
        for a, b in zip(again, kept):
            assert torch.equal(a, b)
        seeds = [torch.randn(3, dtype=torch.float64) for _ in range(2)]
        for a, b in zip(torch.autograd.grad(again, leaves, seeds), torch.autograd.grad(kept, leaves, seeds)):
            torch.testing.assert_close(a, b)


def test_nothing_but_the_inputs_is_kept():
    calls, x = [], torch.randn(5, 6).requires_grad_()
    (output,) = Recomputed.apply(lambda t: calls.append(1) or (t.exp().sum(1),), (x.detach().exp().sum(1),), x)
    assert not calls
    output.sum().backward()
    assert calls == [1]
    torch.testing.assert_close(x.grad, x.detach().exp())


def test_one_output_alone_may_be_used():
    x = torch.randn(3, 4).requires_grad_()
    first, _ = Recomputed.apply(function, tuple(v.detach() for v in function(x, x, None)), x, x, None)
    torch.testing.assert_close(*(torch.autograd.grad(y.sum(), x)[0] for y in (first, function(x, x, None)[0])))
