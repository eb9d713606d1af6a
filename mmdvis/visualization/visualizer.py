"""Draws panoptic results into frames."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmdvis.structures import Segment

from .palette import colour_of


def blend(frame: np.ndarray, id_map: np.ndarray, alpha: float = 0.55) -> np.ndarray:
    """The frame (H, W, 3) uint8 with every id of the map (H, W) in its colour; void stays as it is, borders are white."""
    ids, place = np.unique(id_map, return_inverse=True)
    palette = np.array([colour_of(int(i)) for i in ids], np.float32)[place.reshape(id_map.shape)]
    is_void = (id_map == 0)[..., None]
    mixed = np.where(is_void, frame, (1 - alpha) * frame + alpha * palette)
    edge = np.zeros(id_map.shape, bool)
    edge[:, 1:] |= id_map[:, 1:] != id_map[:, :-1]
    edge[1:] |= id_map[1:] != id_map[:-1]
    return np.where(edge[..., None], 0.4 * mixed + 0.6 * 255, mixed).astype(np.uint8)


def write_names(frame: np.ndarray, id_map: np.ndarray, names: dict[int, str]) -> np.ndarray:
    """The frame with the name of each id at the middle of its pixels, if there is room for it."""
    image = Image.fromarray(frame)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(max(9, round(min(frame.shape[:2]) / 40)))
    for segment_id, name in names.items():
        rows, columns = np.nonzero(id_map == segment_id)
        if len(rows) < 60:
            continue
        middle = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
        place = int(columns[middle]), int(rows[middle])
        draw.text(place, name, fill='white', font=font, anchor='mm', stroke_width=1, stroke_fill='black')
    return np.asarray(image)


def draw_panoptic(
    frame: np.ndarray, id_map: np.ndarray, segments: Sequence[Segment], classes: Sequence[str]
) -> np.ndarray:
    """A frame with its segments, their classes, and the ids of things.

    Args:
        frame (H, W, 3): uint8 RGB; id_map (H, W): ids, 0 is void.
        segments: what the ids mean; classes: name of each label.
    """
    names = {s.id: f'{classes[s.label]} {s.id}' if s.is_thing else classes[s.label] for s in segments}
    return write_names(blend(frame, id_map), id_map, names)
