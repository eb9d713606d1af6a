"""Which queries are compared with which objects: assignments from costs, on the host."""

import logging

import numpy as np
from scipy.optimize import linear_sum_assignment

LOGGER = logging.getLogger('mmdvis')
Pairs = tuple[np.ndarray, np.ndarray]  # (L, n) query of each pair, (L, n) object of each pair


def matched_queries(rows: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """The object (L, n) whose class the slot of each pair is trained with: the last of those that share it."""
    same = rows[:, :, None] == rows[:, None, :]
    last = np.where(same, np.arange(rows.shape[1]), 0).max(-1, initial=0)
    return np.take_along_axis(objects, last, 1)


def check_costs(cost: np.ndarray, name: str) -> np.ndarray:
    """The costs with finite values; says which clip has others."""
    if not np.isfinite(cost).all():
        LOGGER.error(
            'the matching costs of %s hold %d values that are not finite; they count as very dear. A lower '
            'learning rate or full precision mends it.',
            name,
            int((~np.isfinite(cost)).sum()),
        )
    return np.nan_to_num(cost, nan=1e6, posinf=1e6, neginf=-1e6)


def assign(cost: np.ndarray, first: np.ndarray, shared: bool = False) -> Pairs:
    """Matches objects in the order of their first frames; a slot once taken is taken for all later frames.

    Args:
        cost (L, Q, N): of each layer.
        first (N,): first frame of each object.
        shared: let later frames take the slots of earlier ones.

    Returns:
        queries and objects, both (L, n), in the order of the objects, or of their first frames where slots are shared;
        n = min(Q, N) unless they are.
    """
    queries, objects = [], []
    for layer in cost:
        free, rows, columns = np.arange(layer.shape[0]), [], []
        for frame in np.unique(first):
            new = np.flatnonzero(first == frame)
            row, column = linear_sum_assignment(layer[np.ix_(free, new)])
            rows.append(free[row])
            columns.append(new[column])
            free = free if shared else np.delete(free, row)
        found = np.concatenate(columns) if columns else np.zeros(0, int)
        order = np.lexsort((found, first[found])) if shared else np.argsort(found)
        queries.append(np.concatenate(rows)[order] if columns else np.zeros(0, int))
        objects.append(np.concatenate(columns)[order] if columns else np.zeros(0, int))
    return np.stack(queries).astype(np.int64), np.stack(objects).astype(np.int64)
