"""Blends colours of regions and white contours into pictures with the look-up tables of OpenCV."""

import cv2
import numpy as np

CONTOUR_WEIGHT = 0.75  # opacity of the middle of a contour


def blend_colours(picture: np.ndarray, index: np.ndarray, colours: np.ndarray, alpha: float = 0.55) -> np.ndarray:
    """A picture with coloured regions and white, anti-aliased contours.

    Equal to :func:`mmdvis.testing.plain_drawing.plain_blend` up to one grey level.

    Args:
        picture: RGB picture (H, W, 3) uint8.
        index: Row of ``colours`` for every pixel, (H, W) integers; pixels with 0 keep their colour.
        colours: RGB colours (N + 1, 3) in [0, 255].
        alpha: Opacity of the colours in [0, 1].

    Returns:
        RGB picture (H, W, 3) uint8.
    """
    picture = np.ascontiguousarray(picture)
    mixed = cv2.addWeighted(picture, 1 - alpha, look_up(colours, index), alpha, 0.0)
    cv2.copyTo(picture, (index == 0).view(np.uint8), mixed)
    return draw_contours(mixed, index)


def look_up(colours: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The colour (H, W, 3) uint8 of every entry of an index map (H, W)."""
    table = np.asarray(colours).round().clip(0, 255).astype(np.uint8)
    if len(table) > 256:
        return table[index]
    full = np.zeros((1, 256, 3), np.uint8)
    full[0, : len(table)] = table
    return cv2.LUT(cv2.merge([index.astype(np.uint8)] * 3), full)


def draw_contours(picture: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Draws white lines between the regions of an index map (H, W) into a picture (H, W, 3), in place.

    A line is one pixel wide and softened with the kernel (1, 2, 1) / 4 in both directions.
    """
    edges = np.zeros(index.shape, np.uint8)
    edges[:, 1:] = index[:, 1:] != index[:, :-1]
    edges[1:] |= (index[1:] != index[:-1]).view(np.uint8)
    edges *= 255
    soft = cv2.sepFilter2D(edges, -1, np.array([0.25, 0.5, 0.25]), np.array([0.25, 0.5, 0.25]))
    places = np.flatnonzero(soft)
    weights = (CONTOUR_WEIGHT / 255 * soft.ravel()[places, None]).astype(np.float32)
    pixels = picture.reshape(-1, 3)
    values = pixels[places]
    pixels[places] = (values + (255 - values.astype(np.float32)) * weights + 0.5).astype(np.uint8)
    return picture
