"""Name plates: labels on a coloured background, placed where an object has room and without overlaps."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

Colour = tuple[int, int, int]
MIN_AREA = 60  # pixels that an object needs to be labelled
STEP = 4  # regions are searched for a place on every fourth pixel
PADDING = 3  # pixels between the text and the border of its plate
OPACITY = 0.8


@dataclass(frozen=True)
class Label:
    """The label of a region.

    Attributes:
        texts: Alternatives from the longest to the shortest; the longest that fits is drawn.
        colour: RGB colour of the plate.
    """

    texts: tuple[str, ...]
    colour: Colour


@lru_cache(maxsize=4096)
def render_plate(text: str, colour: Colour, size: int) -> np.ndarray:
    """Renders a plate (h, w, 4) uint8, RGB and opacity, with black or white text of ``size`` pixels."""
    font = ImageFont.load_default(size)
    left, _, right, _ = font.getbbox(text)
    line = font.getbbox('Ag|')  # the same height for all texts
    width, height = round(right - left) + 2 * PADDING, round(line[3]) + PADDING
    plate = Image.new('RGB', (width, height), colour)
    is_bright = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140
    ImageDraw.Draw(plate).text((PADDING - left, PADDING // 2), text, fill='black' if is_bright else 'white', font=font)
    opacity = np.full((height, width, 1), round(255 * OPACITY), np.uint8)
    return np.concatenate([np.asarray(plate), opacity], 2)


def font_size(height: int, width: int) -> int:
    """Text size in pixels for a picture."""
    return max(9, round(min(height, width) / 42))


def draw_labels(picture: np.ndarray, index: np.ndarray, labels: dict[int, Label]) -> np.ndarray:
    """Draws the labels of regions into a picture, large regions first.

    A plate lies in the largest connected piece of its region, at the point farthest from its border. It is moved to
    stay inside the picture and off the plates that are already there; if there is no free place near, it is left out.

    Args:
        picture: RGB picture (H, W, 3) uint8, changed in place.
        index: Region of every pixel (H, W).
        labels: Region -> label.

    Returns:
        The picture.
    """
    size = font_size(*index.shape)
    placed: list[tuple[int, int, int, int]] = []
    coarse = np.ascontiguousarray(index[::STEP, ::STEP]).astype(np.int32)
    areas = np.bincount(index.ravel(), minlength=max(labels, default=0) + 1)
    boxes = ndimage.find_objects(coarse, max_label=max(labels, default=0))
    for region in sorted(labels, key=lambda region: -areas[region]):
        if areas[region] < MIN_AREA:
            continue
        x, y, room = widest_place(coarse, region, boxes[region - 1])
        plate = fitting_plate(labels[region], room, size)
        corner = free_corner(x - plate.shape[1] // 2, y - plate.shape[0] // 2, plate.shape, index.shape, placed)
        if corner is not None:
            placed.append((*corner, corner[0] + plate.shape[1], corner[1] + plate.shape[0]))
            paste(picture, plate, corner)
    return picture


def widest_place(coarse: np.ndarray, region: int, box: tuple[slice, slice] | None) -> tuple[int, int, int]:
    """The point of the largest piece of a region that is farthest from its border, and the width of the piece there.

    Args:
        coarse: Every ``STEP``-th pixel of an index map.
        region: The region.
        box: Lines and columns of the region in ``coarse``; None if it is on no coarse pixel.

    Returns:
        x, y and width in pixels of the picture; the centre of the picture if the region is on no coarse pixel.
    """
    if box is None:
        rows, columns = (length * STEP // 2 for length in coarse.shape)
        return columns, rows, 0
    mask = (coarse[box] == region).view(np.uint8)
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    piece = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    left, top, width, height = stats[piece, :4]
    inside = (pieces[top : top + height, left : left + width] == piece).view(np.uint8)
    distance = cv2.distanceTransform(np.pad(inside, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    return (box[1].start + int(left + x)) * STEP, (box[0].start + int(top + y)) * STEP, int(width) * STEP


def fitting_plate(label: Label, room: int, size: int) -> np.ndarray:
    """The plate of the longest text that is at most ``room`` pixels wide, or else of the shortest text."""
    plate = render_plate(label.texts[0], label.colour, size)
    for text in label.texts[1:]:
        if plate.shape[1] <= room:
            break
        plate = render_plate(text, label.colour, size)
    return plate


def free_corner(
    x: int, y: int, plate: tuple[int, ...], picture: tuple[int, ...], placed: list[tuple[int, int, int, int]]
) -> tuple[int, int] | None:
    """The top left corner (x, y) of a plate near a place, inside the picture and off the placed plates.

    Args:
        x: Wanted left edge.
        y: Wanted top edge.
        plate: Shape of the plate.
        picture: Shape of the picture.
        placed: Boxes (x1, y1, x2, y2) of the plates that are already there.

    Returns:
        The corner; None if the plate is larger than the picture or all places are taken.
    """
    height, width = plate[:2]
    if height > picture[0] or width > picture[1]:
        return None
    for rows in (0, 1, -1, 2, -2):
        left = min(max(x, 0), picture[1] - width)
        top = min(max(y + rows * height, 0), picture[0] - height)
        if all(left >= x2 or left + width <= x1 or top >= y2 or top + height <= y1 for x1, y1, x2, y2 in placed):
            return left, top
    return None


def paste(picture: np.ndarray, plate: np.ndarray, corner: tuple[int, int]) -> None:
    """Blends a plate (h, w, 4) into a picture, in place."""
    (left, top), (height, width) = corner, plate.shape[:2]
    window = picture[top : top + height, left : left + width]
    weight = plate[..., 3:].astype(np.uint16)
    window[:] = ((window * (255 - weight) + plate[..., :3] * weight + 127) // 255).astype(np.uint8)
