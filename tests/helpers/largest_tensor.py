"""Measure the size of the tensors that a function allocates."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def storages(*values):
    """Map the storage address to the number of elements, for all floating-point tensors in ``values``."""
    tensors = [x for x in tree_leaves(values) if torch.is_tensor(x) and x.is_floating_point()]
    return {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() // x.element_size() for x in tensors}


class Largest(TorchDispatchMode):
    """Record the number of elements of the largest floating-point tensor that is allocated; views do not count."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        input_storages = storages(args, kwargs or {})
        result = function(*args, **(kwargs or {}))
        new_sizes = [numbers for address, numbers in storages(result).items() if address not in input_storages]
        self.numbers = max([self.numbers, *new_sizes])
        return result


def largest(run):
    """Return the number of elements of the largest floating-point tensor that ``run`` allocates."""
    with Largest() as mode:
        run()
    return mode.numbers
