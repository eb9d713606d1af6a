"""The classes of a model or a dataset: names, colours, and which of them are things."""

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmdvis.errors import CheckpointError

Colour = tuple[int, int, int]
GOLDEN_RATIO = 0.618033988749895


def class_colour(label: int) -> Colour:
    """RGB colour of a class that has none of its own: hues spaced by the golden ratio."""
    red, green, blue = colorsys.hsv_to_rgb(label * GOLDEN_RATIO % 1, 0.75, 0.9)
    return int(255 * red), int(255 * green), int(255 * blue)


@dataclass(frozen=True)
class ClassInfo:
    """The K classes in the order of their labels.

    Attributes:
        names: name of each label.
        is_thing: whether each label is a countable object (thing) or a region (stuff).
        category_ids: id of each label in the dataset's files.
        palette: RGB colour of each label, in [0, 255].
    """

    names: tuple[str, ...]
    is_thing: tuple[bool, ...]
    category_ids: tuple[int, ...]
    palette: tuple[Colour, ...]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def labels(self) -> dict[int, int]:
        """Category id -> label."""
        return {number: label for label, number in enumerate(self.category_ids)}

    @property
    def meta(self) -> dict[str, Any]:
        """The classes as plain lists, from which :meth:`from_meta` makes them again; things must come first."""
        return dict(
            classes=list(self.names),
            palette=[list(colour) for colour in self.palette],
            num_things=sum(self.is_thing),
            category_ids=list(self.category_ids),
        )

    @classmethod
    def numbered(cls, num_classes: int, num_things: int | None = None) -> 'ClassInfo':
        """Classes with the names ``class 0``, ``class 1``, ...; labels below ``num_things`` (None: all) are things."""
        return cls.from_meta(dict(classes=[f'class {label}' for label in range(num_classes)], num_things=num_things))

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any]) -> 'ClassInfo':
        """Classes from the ``dataset_meta`` of a checkpoint or the ``metainfo`` of a dataset.

        Args:
            meta: ``classes`` and optionally ``num_things`` (default: all classes are things), ``category_ids`` and
                ``palette``.

        Raises:
            CheckpointError: the entries have different lengths.
        """
        names = tuple(map(str, meta['classes']))
        num_things = meta.get('num_things')
        num_things = len(names) if num_things is None else int(num_things)
        category_ids = tuple(int(number) for number in meta.get('category_ids') or range(len(names)))
        palette = tuple(
            (int(red), int(green), int(blue))
            for red, green, blue in meta.get('palette') or map(class_colour, range(len(names)))
        )
        if not len(names) == len(category_ids) == len(palette) or not 0 <= num_things <= len(names):
            raise CheckpointError(
                f'the class information has {len(names)} names, {num_things} things, {len(category_ids)} category ids '
                f'and {len(palette)} colours; it must have one id and one colour per name, and at most as many things '
                'as names'
            )
        return cls(names, tuple(label < num_things for label in range(len(names))), category_ids, palette)
