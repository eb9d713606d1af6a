"""Draws results of all tasks into frames."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmdvis.results import ClassInfo, FrameResult

from .palette import colour_of

MIN_LABEL_AREA = 60  # pixels an object needs to be labelled


class ResultVisualizer:
    """Draws objects in transparent colours with white outlines and names.

    The colour of a thing belongs to its id, the colour of stuff to its class, so both are the same in every frame.

    Args:
        classes: the classes of the model.
        alpha: opacity of the colours in [0, 1].
    """

    def __init__(self, classes: ClassInfo, alpha: float = 0.55) -> None:
        self.classes, self.alpha = classes, alpha

    def draw(self, picture: np.ndarray, result: FrameResult) -> np.ndarray:
        """A copy of a picture (H, W, 3) uint8 RGB with the objects of its frame.

        Raises:
            ValueError: picture and result have different sizes.
        """
        if tuple(picture.shape[:2]) != tuple(result.image_size):
            raise ValueError(
                f'the picture is {tuple(picture.shape[:2])} (height, width) and the result {tuple(result.image_size)}; '
                'draw into the frame at the size of the result'
            )
        colours = [
            colour_of(segment.id) if segment.is_thing else self.classes.palette[segment.label]
            for segment in result.objects
        ]
        names = [f'{segment.name} {segment.id}' if segment.is_thing else segment.name for segment in result.objects]
        if result.label_map is not None:
            colours, names = [self.classes.palette[s.label] for s in result.objects], [s.name for s in result.objects]
        index = result.index_map()
        blended = blend_colours(picture, index, np.array([(0, 0, 0), *colours], np.float32), self.alpha)
        return write_labels(blended, index, dict(enumerate(names, 1)))


def blend_colours(picture: np.ndarray, index: np.ndarray, colours: np.ndarray, alpha: float = 0.55) -> np.ndarray:
    """A picture with coloured regions and white outlines.

    Args:
        picture (H, W, 3): uint8 RGB.
        index (H, W): row of ``colours`` for every pixel; pixels with 0 keep their colour.
        colours (N + 1, 3): float RGB in [0, 255].
        alpha: opacity of the colours.
    """
    mixed = np.where((index == 0)[..., None], picture, (1 - alpha) * picture + alpha * colours[index])
    edge = np.zeros(index.shape, bool)
    edge[:, 1:] |= index[:, 1:] != index[:, :-1]
    edge[1:] |= index[1:] != index[:-1]
    return np.where(edge[..., None], 0.4 * mixed + 0.6 * 255, mixed).astype(np.uint8)


def blend_ids(picture: np.ndarray, id_map: np.ndarray, alpha: float = 0.55) -> np.ndarray:
    """A picture (H, W, 3) uint8 with every id of a map (H, W) in its own colour; 0 keeps the picture."""
    ids, place = np.unique(np.append(id_map.ravel(), 0), return_inverse=True)
    colours = np.array([colour_of(int(number)) for number in ids], np.float32)
    return blend_colours(picture, place[:-1].reshape(id_map.shape), colours, alpha)


def write_labels(picture: np.ndarray, index: np.ndarray, names: dict[int, str]) -> np.ndarray:
    """A picture with the name of each region at the pixel nearest to its centre; small regions get none.

    Args:
        picture (H, W, 3): uint8 RGB.
        index (H, W): region of every pixel.
        names: region -> name.
    """
    image = Image.fromarray(picture)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(max(9, round(min(picture.shape[:2]) / 40)))
    for region, name in names.items():
        rows, columns = np.nonzero(index == region)
        if len(rows) < MIN_LABEL_AREA:
            continue
        centre = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
        place = int(columns[centre]), int(rows[centre])
        draw.text(place, name, fill='white', font=font, anchor='mm', stroke_width=1, stroke_fill='black')
    return np.asarray(image)
