"""Writing slices into a preallocated tensor."""

import pytest
import torch

from mmdvis.structures import write_slice


@pytest.mark.parametrize('axis', [0, 1])
def test_parts_in_turn_are_the_whole(axis):
    values, whole = torch.arange(30, dtype=torch.int16).view(5, 6), None
    for start, part in ((0, values.narrow(axis, 0, 2)), (2, values.narrow(axis, 2, 1)), (3, values.narrow(axis, 3, 2))):
        whole = write_slice(whole, part, start, 5, axis)
    assert whole.dtype == torch.int16 and torch.equal(whole, values.narrow(axis, 0, 5))


def test_the_room_is_made_once():
    first = write_slice(None, torch.ones(2, 3), 0, 4)
    assert write_slice(first, torch.zeros(2, 3), 2, 4) is first and first.tolist() == [[1.0] * 3] * 2 + [[0.0] * 3] * 2


def test_a_part_beyond_the_room_is_refused():
    with pytest.raises(RuntimeError):
        write_slice(None, torch.ones(3), 2, 4)


def test_gradients_go_through():
    part = torch.ones(2, requires_grad=True)
    (write_slice(write_slice(None, part, 0, 4), 3 * part, 2, 4) * torch.arange(4.0)).sum().backward()
    assert part.grad.tolist() == [0.0 + 3 * 2, 1.0 + 3 * 3]
