"""Reference implementation of drawing in floating point."""

import numpy as np

from mmdvis.visualization.blending import CONTOUR_WEIGHT


def plain_blend(picture: np.ndarray, index: np.ndarray, colours: np.ndarray, alpha: float = 0.55) -> np.ndarray:
    """A picture with coloured regions and white contours, computed in float64; see :func:`blend_colours`."""
    mixed = np.where((index == 0)[..., None], picture, (1 - alpha) * picture + alpha * np.asarray(colours)[index])
    edges = np.zeros(index.shape)
    edges[:, 1:][index[:, 1:] != index[:, :-1]] = 1
    edges[1:][index[1:] != index[:-1]] = 1
    for axis in (0, 1):
        padded = np.pad(edges, [(1, 1) if a == axis else (0, 0) for a in (0, 1)], mode='reflect')
        first, middle, last = (np.take(padded, range(s, s + edges.shape[axis]), axis) for s in (0, 1, 2))
        edges = (first + 2 * middle + last) / 4
    weight = CONTOUR_WEIGHT * edges[..., None]
    return (mixed * (1 - weight) + 255 * weight).round().astype(np.uint8)
