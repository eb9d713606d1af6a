"""How large the tensors are that a piece of code makes."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def storages(*values):
    """Address -> numbers of the memory of all tensors of floats among the values."""
    found = [x for x in tree_leaves(values) if torch.is_tensor(x) and x.is_floating_point()]
    return {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() // x.element_size() for x in found}


class Largest(TorchDispatchMode):
    """The most numbers of any tensor of floats that is made; views of others are not."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        given = storages(args, kwargs or {})
        result = function(*args, **(kwargs or {}))
        made = [numbers for address, numbers in storages(result).items() if address not in given]
        self.numbers = max([self.numbers, *made])
        return result


def largest(run):
    """The most numbers of any tensor of floats that ``run`` makes."""
    with Largest() as seen:
        run()
    return seen.numbers
