"""Assignment of queries to objects by their matching costs, computed on the CPU."""

import logging

import numpy as np
from scipy.optimize import linear_sum_assignment

LOGGER = logging.getLogger('mmdvis')
Pairs = tuple[np.ndarray, np.ndarray]  # query indices (L, n) and object indices (L, n)


def matched_queries(rows: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Object that provides the class label of each matched query.

    If several objects share a query, the label of the last one is used.

    Args:
        rows: Query index (L, n) of each pair.
        objects: Object index (L, n) of each pair.

    Returns:
        Object index (L, n) for each pair.
    """
    same = rows[:, :, None] == rows[:, None, :]
    last = np.where(same, np.arange(rows.shape[1]), 0).max(-1, initial=0)
    return np.take_along_axis(objects, last, 1)


def check_costs(cost: np.ndarray, name: str) -> np.ndarray:
    """Replaces non-finite matching costs by +-1e6 and logs an error.

    Args:
        cost: Matching costs of any shape.
        name: Name of the clip for the log message.

    Returns:
        Finite costs of the same shape; NaN and +inf become 1e6, -inf becomes -1e6.
    """
    if not np.isfinite(cost).all():
        LOGGER.error(
            'the matching costs of %s hold %d values that are not finite; they are replaced by +-1e6; try a lower '
            'learning rate or float32',
            name,
            int((~np.isfinite(cost)).sum()),
        )
    return np.nan_to_num(cost, nan=1e6, posinf=1e6, neginf=-1e6)


def assign(cost: np.ndarray, first: np.ndarray, shared: bool = False) -> Pairs:
    """Assigns queries to objects in the order in which the objects appear.

    Hungarian matching runs once for each distinct first frame, over the queries that are still unassigned.

    Args:
        cost: Matching costs (L, Q, N) of each layer.
        first: Index (N,) of the frame in which each object first appears.
        shared: Whether later objects may be assigned to queries of earlier objects.

    Returns:
        Query and object indices of the pairs, both (L, n) int64, with n = min(Q, N) unless ``shared``. The pairs are
        sorted by object index, or by first frame and object index if ``shared``.
    """
    queries, objects = [], []
    for layer in cost:
        free, rows, columns = np.arange(layer.shape[0]), [], []
        for frame in np.unique(first):
            appearing = np.flatnonzero(first == frame)
            row, column = linear_sum_assignment(layer[np.ix_(free, appearing)])
            rows.append(free[row])
            columns.append(appearing[column])
            free = free if shared else np.delete(free, row)
        matched = np.concatenate(columns) if columns else np.zeros(0, int)
        order = np.lexsort((matched, first[matched])) if shared else np.argsort(matched)
        queries.append(np.concatenate(rows)[order] if columns else np.zeros(0, int))
        objects.append(np.concatenate(columns)[order] if columns else np.zeros(0, int))
    return np.stack(queries).astype(np.int64), np.stack(objects).astype(np.int64)
