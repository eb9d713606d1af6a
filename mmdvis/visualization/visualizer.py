"""Draws results of all tasks into frames."""

from collections import deque
from collections.abc import Collection

import cv2
import numpy as np

from mmdvis.results import ClassInfo, FrameResult, SegmentedObject

from .blending import blend_colours
from .name_plates import Label, draw_labels
from .palette import colour_of

HIDEABLE = ('names', 'scores', 'masks', 'boxes', 'stuff')
SHOWABLE = ('boxes', 'trails')
TRAIL = 40  # frames of a trail


class ResultVisualizer:
    """Draws objects in transparent colours with white contours and name plates.

    The colour of a thing belongs to its id, the colour of stuff to its class, so both are the same in every frame.
    Trails connect the centres of an object in the frames that were drawn before; use one visualizer for each video.

    Args:
        classes: Classes of the model.
        alpha: Opacity of the colours in [0, 1].
        show: What is drawn besides masks and names: ``'boxes'``, ``'trails'``.
        hide: What is not drawn: ``'names'``, ``'scores'``, ``'masks'``, ``'boxes'``, ``'stuff'``.

    Raises:
        ValueError: An option is out of range or unknown.
    """

    def __init__(
        self, classes: ClassInfo, alpha: float = 0.55, show: Collection[str] = (), hide: Collection[str] = ()
    ) -> None:
        if not 0 <= alpha <= 1:
            raise ValueError(f'alpha must be in [0, 1], got {alpha}')
        for name, values, allowed in (('show', show, SHOWABLE), ('hide', hide, HIDEABLE)):
            if not set(values) <= set(allowed):
                raise ValueError(f'{name} must be some of {", ".join(allowed)}, got {", ".join(values)}')
        self.classes, self.alpha = classes, alpha
        self.show, self.hide = set(show) - set(hide), set(hide)
        self.trails: dict[int, deque[tuple[int, int]]] = {}

    def colour(self, segment: SegmentedObject, is_semantic: bool = False) -> tuple[int, int, int]:
        """RGB colour of an object: by its id for things, by its class for stuff and in semantic results."""
        by_class = is_semantic or not segment.is_thing
        return self.classes.palette[segment.label] if by_class else colour_of(segment.id)

    def label(self, segment: SegmentedObject, is_semantic: bool = False) -> Label:
        """Label of an object: name, id of things, and score; shorter alternatives leave out the score or the name."""
        colour = self.colour(segment, is_semantic)
        if is_semantic or not segment.is_thing:
            return Label((segment.name,), colour)
        texts = [f'{segment.name} {segment.id}', f'{segment.id}']
        if segment.score is not None and 'scores' not in self.hide:
            texts.insert(0, f'{texts[0]} {segment.score:.2f}')
        return Label(tuple(texts), colour)

    def draw(self, picture: np.ndarray, result: FrameResult) -> np.ndarray:
        """A copy of a picture (H, W, 3) uint8 RGB with the objects of its frame.

        Raises:
            ValueError: Picture and result have different sizes.
        """
        if tuple(picture.shape[:2]) != tuple(result.image_size):
            raise ValueError(
                f'the picture is {tuple(picture.shape[:2])} (height, width) and the result {tuple(result.image_size)}; '
                'draw into the frame at the size of the result'
            )
        is_semantic = result.label_map is not None
        shown = {
            k: segment
            for k, segment in enumerate(result.objects, 1)
            if 'stuff' not in self.hide or segment.is_thing or is_semantic
        }
        colours = np.zeros((len(result.objects) + 1, 3), np.uint8)
        for k, segment in shown.items():
            colours[k] = self.colour(segment, is_semantic)
        index = result.index_map()
        if len(shown) < len(result.objects):
            index = np.where(np.isin(index, list(shown)), index, 0)
        drawn = picture.copy() if 'masks' in self.hide else blend_colours(picture, index, colours, self.alpha)
        self.draw_shapes(drawn, [segment for segment in shown.values() if segment.is_thing], is_semantic)
        if 'names' not in self.hide:
            draw_labels(drawn, index, {k: self.label(segment, is_semantic) for k, segment in shown.items()})
        return drawn

    def draw_shapes(self, picture: np.ndarray, things: list[SegmentedObject], is_semantic: bool) -> None:
        """Draws boxes and trails of things into a picture, in place."""
        for segment in things if not is_semantic else ():
            (x1, y1, x2, y2), colour = segment.box, self.colour(segment)
            if 'boxes' in self.show:
                cv2.rectangle(picture, (x1, y1), (x2 - 1, y2 - 1), colour, 2)
            if 'trails' in self.show:
                trail = self.trails.setdefault(segment.id, deque(maxlen=TRAIL))
                trail.append(((x1 + x2) // 2, (y1 + y2) // 2))
                cv2.polylines(picture, [np.array(trail, np.int32)], False, colour, 2, cv2.LINE_AA)


def blend_ids(picture: np.ndarray, id_map: np.ndarray, alpha: float = 0.55) -> np.ndarray:
    """A picture (H, W, 3) uint8 with every id of a map (H, W) in its own colour; 0 keeps the picture.

    The ids must be small, because a table of all colours up to the largest id is made.
    """
    return blend_colours(picture, id_map, colours_of_ids(int(id_map.max(initial=0))), alpha)


def colours_of_ids(largest: int) -> np.ndarray:
    """Colours (largest + 1, 3) uint8 of the ids 0 (black) to ``largest``."""
    return np.array([(0, 0, 0), *(colour_of(number) for number in range(1, largest + 1))], np.uint8)
