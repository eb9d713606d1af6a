"""Writes chunks into a preallocated tensor.

Unlike with concatenation, each chunk can be freed before the next one is computed.
"""

from torch import Tensor


def write_slice(whole: Tensor | None, part: Tensor, start: int, number: int, axis: int = 0) -> Tensor:
    """Copies a chunk into a slice of a tensor.

    Args:
        whole: Tensor to write to; None allocates one with the shape of the chunk except for ``axis``.
        part: Chunk to copy.
        start: Start index of the chunk along ``axis``.
        number: Size of the allocated tensor along ``axis``.
        axis: Axis along which the chunks are concatenated.

    Returns:
        Tensor that contains the chunk.
    """
    if whole is None:
        whole = part.new_empty(*part.shape[:axis], number, *part.shape[axis + 1 :])
    whole.narrow(axis, start, part.shape[axis]).copy_(part)
    return whole
