"""Parts put one after the other into the room for all of them, so that each may be forgotten before the next is made."""

from torch import Tensor


def write_slice(whole: Tensor | None, part: Tensor, start: int, number: int, axis: int = 0) -> Tensor:
    """Copies a part to its place.

    Args:
        whole: the room; None: it is made, like the part but for its length.
        part: what is copied.
        start: its place along the axis.
        number: length of the axis of the whole.
        axis: along which parts follow each other.

    Returns:
        the whole.
    """
    if whole is None:
        whole = part.new_empty(*part.shape[:axis], number, *part.shape[axis + 1 :])
    whole.narrow(axis, start, part.shape[axis]).copy_(part)
    return whole
