"""Panoptic PNGs, whose colours encode segment ids."""

import numpy as np


def id_to_rgb(ids: np.ndarray) -> np.ndarray:
    """Encodes ids (H, W) as colours (H, W, 3) of a panoptic PNG: id = R + 256 G + 65536 B."""
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
