"""Class lists of the benchmarks, and checks of the class list of an annotation file."""

import colorsys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdvis.errors import DataError

from .annotation_json import Entry

VIPSEG = (
    'wall ceiling door stair ladder escalator playground_slide handrail_or_fence window rail goal pillar pole floor '
    'ground grass sand athletic_field road path crosswalk building house bridge tower windmill well_or_well_lid '
    'other_construction sky mountain stone wood ice snowfield grandstand sea river lake waterfall water '
    'billboard_or_bulletin_board sculpture pipeline flag parasol_or_umbrella cushion_or_carpet tent roadblock car bus '
    'truck bicycle motorcycle wheeled_machine ship_or_boat raft airplane tyre traffic_light lamp person cat dog horse '
    'cattle other_animal tree flower other_plant toy ball_net backboard skateboard bat ball '
    'cupboard_or_showcase_or_storage_rack box traveling_case_or_trolley_case basket bag_or_package trash_can cage '
    'plate tub_or_bowl_or_pot bottle_or_cup barrel fishbowl bed pillow table_or_desk chair_or_seat bench sofa shelf '
    'bathtub gun commode roaster other_machine refrigerator washing_machine microwave_oven fan curtain textiles '
    'clothes painting_or_poster mirror flower_pot_or_vase clock book tool blackboard tissue screen_or_television '
    'computer printer mobile_phone keyboard other_electronic_product fruit food instrument train'
)
VIPSEG_THINGS = (
    2,
    4,
    8,
    10,
    41,
    43,
    44,
    *range(46, 53),
    54,
    55,
    56,
    *range(60, 66),
    72,
    74,
    *range(76, 80),
    *range(82, 93),
    95,
    96,
    97,
    *range(99, 103),
    *range(106, 110),
    *range(114, 119),
    122,
    123,
)
OVIS = (
    'Person Bird Cat Dog Horse Sheep Cow Elephant Bear Zebra Giraffe Poultry Giant_panda Lizard Parrot Monkey Rabbit '
    'Tiger Fish Turtle Bicycle Motorcycle Airplane Boat Vehical'
)
YOUTUBE_VIS_2019 = (
    'person giant_panda lizard parrot skateboard sedan ape dog snake monkey hand rabbit duck cat cow fish train horse '
    'turtle bear motorbike giraffe leopard fox deer owl surfboard airplane truck zebra tiger elephant snowboard boat '
    'shark mouse frog eagle earless_seal tennis_racket'
)
YOUTUBE_VIS_2021 = (
    'airplane bear bird boat car cat cow deer dog duck earless_seal elephant fish flying_disc fox frog giant_panda '
    'giraffe horse leopard lizard monkey motorbike mouse parrot person rabbit shark skateboard snake snowboard '
    'squirrel surfboard tennis_racket tiger train truck turtle whale zebra'
)
CITYSCAPES = (
    'road sidewalk building wall fence pole traffic_light traffic_sign vegetation terrain sky person rider car truck '
    'bus train motorcycle bicycle'
)
CAMVID = 'sky building pole road pavement tree sign fence car pedestrian bicyclist'
CITYSCAPES_LABEL_IDS = (7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33)  # of the annotation files of the images
VIPER = (
    'sky road sidewalk terrain tree vegetation building infrastructure fence billboard trafficsign mobilebarrier '
    'trash trafficlight firehydrant chair trashcan person motorcycle car van bus truck'
)


COCO = (
    'person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant stop_sign parking_meter '
    'bench bird cat dog horse sheep cow elephant bear zebra giraffe backpack umbrella handbag tie suitcase frisbee '
    'skis snowboard sports_ball kite baseball_bat baseball_glove skateboard surfboard tennis_racket bottle wine_glass '
    'cup fork knife spoon bowl banana apple sandwich orange broccoli carrot hot_dog pizza donut cake chair couch '
    'potted_plant bed dining_table toilet tv laptop mouse remote keyboard cell_phone microwave oven toaster sink '
    'refrigerator book clock vase scissors teddy_bear hair_drier toothbrush'
)
COCO_STUFF = (
    '92 banner 93 blanket 95 bridge 100 cardboard 107 counter 109 curtain 112 door-stuff 118 floor-wood 119 flower '
    '122 fruit 125 gravel 128 house 130 light 133 mirror-stuff 138 net 141 pillow 144 platform 145 playingfield '
    '147 railroad 148 river 149 road 151 roof 154 sand 155 sea 156 shelf 159 snow 161 stairs 166 tent 168 towel '
    '171 wall-brick 175 wall-stone 176 wall-tile 177 wall-wood 178 water-other 180 window-blind 181 window-other '
    '184 tree-merged 185 fence-merged 186 ceiling-merged 187 sky-other-merged 188 cabinet-merged 189 table-merged '
    '190 floor-other-merged 191 pavement-merged 192 mountain-merged 193 grass-merged 194 dirt-merged 195 paper-merged '
    '196 food-other-merged 197 building-other-merged 198 rock-merged 199 wall-other-merged 200 rug-merged'
)
COCO_GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)  # unused category ids of COCO


@dataclass(frozen=True)
class ClassList:
    """Classes in the order of labels: things first, each group by ascending category id.

    Attributes:
        names: Class name of each label.
        category_ids: Category id of each label.
        num_things: Number of thing classes; labels below it are things.
        palette: RGB colour of each label, in [0, 255].
    """

    names: tuple[str, ...]
    category_ids: tuple[int, ...]
    num_things: int
    palette: tuple[tuple[int, int, int], ...]

    @property
    def labels(self) -> dict[int, int]:
        """Category id -> label."""
        return {number: label for label, number in enumerate(self.category_ids)}

    def metainfo(self) -> dict[str, Any]:
        """Meta information of a dataset about its classes."""
        return dict(
            classes=self.names, num_things=self.num_things, category_ids=self.category_ids, palette=self.palette
        )

    def panoptic_categories(self, colours: Sequence[Sequence[int]] | None = None) -> list[dict[str, Any]]:
        """The entries ``categories`` of a panoptic JSON file, by ascending category id.

        Args:
            colours: RGB colour of each category id; None for the palette of the class list.
        """
        return [
            dict(
                id=number,
                name=self.names[label],
                isthing=int(label < self.num_things),
                color=list(self.palette[label] if colours is None else colours[number]),
            )
            for number, label in sorted(self.labels.items())
        ]


def build_class_list(rows: Sequence[tuple[int, str, bool, Sequence[int] | None]]) -> ClassList:
    """Build a class list.

    Args:
        rows: (category id, name, is_thing, RGB colour or None) of each class, in any order.
    """
    rows = sorted(rows, key=lambda row: (not row[2], row[0]))
    return ClassList(
        tuple(row[1] for row in rows),
        tuple(row[0] for row in rows),
        sum(row[2] for row in rows),
        tuple(tuple(row[3]) if row[3] else shade(label) for label, row in enumerate(rows)),
    )


def shade(label: int) -> tuple[int, int, int]:
    """Default RGB colour of a class without a colour in the annotation file."""
    colour = colorsys.hsv_to_rgb(label * 0.618033988749895 % 1, 0.75, 0.9)
    return tuple(int(255 * channel) for channel in colour)


def numbered_classes(names: str, start: int, things: Sequence[int] | None = None) -> ClassList:
    """Build a class list with consecutive category ids.

    Args:
        names: Class names, separated by spaces.
        start: First category id.
        things: Category ids of the thing classes. None means that all classes are things.
    """
    return build_class_list(
        [(k, name, things is None or k in things, None) for k, name in enumerate(names.split(), start)]
    )


KNOWN_CLASSES = {
    'VIPSeg': lambda: numbered_classes(VIPSEG, 0, VIPSEG_THINGS),
    'VSPW': lambda: numbered_classes(VIPSEG, 0, VIPSEG_THINGS),
    'OVIS': lambda: numbered_classes(OVIS, 1),
    'YouTubeVIS2019': lambda: numbered_classes(YOUTUBE_VIS_2019, 1),
    'YouTubeVIS2021': lambda: numbered_classes(YOUTUBE_VIS_2021, 1),
    'YouTubeVIS2022': lambda: numbered_classes(YOUTUBE_VIS_2021, 1),
    'CityscapesVPS': lambda: numbered_classes(CITYSCAPES, 0, range(11, 19)),
    'Cityscapes': lambda: build_class_list(
        [(number, name, number >= 24, None) for number, name in zip(CITYSCAPES_LABEL_IDS, CITYSCAPES.split())]
    ),
    'VIPER': lambda: numbered_classes(VIPER, 0, range(13, 23)),
    'DAVIS': lambda: numbered_classes('object', 1),
    'CamVid': lambda: numbered_classes(CAMVID, 0, ()),
    'COCO': lambda: build_class_list(coco_things()),
    'COCOPanoptic': lambda: build_class_list([*coco_things(), *coco_stuff()]),
}


def coco_things() -> list[tuple[int, str, bool, None]]:
    """(category id, name, is_thing, colour) of the 80 objects of COCO."""
    numbers = (k for k in range(1, 91) if k not in COCO_GAPS)
    return [(number, name, True, None) for number, name in zip(numbers, COCO.split())]


def coco_stuff() -> list[tuple[int, str, bool, None]]:
    """(category id, name, is_thing, colour) of the 53 regions of COCO panoptic."""
    words = COCO_STUFF.split()
    return [(int(number), name, False, None) for number, name in zip(words[::2], words[1::2])]


def known_classes(name: str) -> ClassList:
    """Class list of a benchmark.

    Raises:
        DataError: The name is unknown.
    """
    if name not in KNOWN_CLASSES:
        raise DataError(f'unknown class list {name!r}; use one of {", ".join(KNOWN_CLASSES)}, or None to accept any')
    return KNOWN_CLASSES[name]()


def categories_of(content: Entry, things_only: bool = False) -> ClassList:
    """Class list in ``categories`` of a JSON file.

    Args:
        content: Content of the JSON file.
        things_only: All categories are things, as in instance segmentation formats; ``isthing`` is not read.

    Raises:
        DataError: An entry is malformed, an id occurs more than once, or there are no categories.
    """
    rows: list[tuple[int, str, bool, Sequence[int] | None]] = []
    for category in content.entries('categories', 'category'):
        is_thing = things_only or category.flag('isthing', required=True)
        rows.append((category.integer('id'), category.text('name'), is_thing, category_colour(category)))
    numbers = [row[0] for row in rows]
    duplicates = sorted({number for number in numbers if numbers.count(number) > 1})
    if duplicates:
        raise DataError(f'{content.where}: the category id {duplicates[0]} occurs more than once; ids must be unique')
    if not rows:
        raise DataError(f"{content.where}: 'categories' is empty; at least one category is required")
    return build_class_list(rows)


def category_colour(category: Entry) -> list[int] | None:
    """RGB colour of a category, None unless it has three integers in [0, 255]."""
    colour = category.value.get('color')
    is_colour = (
        isinstance(colour, list) and len(colour) == 3 and all(isinstance(x, int) and 0 <= x <= 255 for x in colour)
    )
    return colour if is_colour else None


def normalize_name(name: str) -> str:
    """Normalise the spelling of a class name: lower case, letters and digits only."""
    return ''.join(letter for letter in name.lower() if letter.isalnum())


def check_against_known(found: ClassList, name: str, path: Path) -> None:
    """Check the classes of an annotation file against the class list of a benchmark.

    The ids and the number of things must be equal, and no name of the benchmark may have a different id. Unknown names
    cause a warning.

    Args:
        found: Classes of the file.
        name: Name of the benchmark.
        path: Path of the file, for error messages.

    Raises:
        DataError: The lists differ, so that labels would not agree with released checkpoints.
    """
    expected = known_classes(name)
    advice = f'for custom data in the layout of {name}, set class_list=None to accept the classes of the file'
    if found.category_ids != expected.category_ids or found.num_things != expected.num_things:
        raise DataError(
            f'{path} has {found.num_things} thing and {len(found.names) - found.num_things} other categories with the '
            f'ids {shorten(found.category_ids)}; {name} has {expected.num_things} and '
            f'{len(expected.names) - expected.num_things} with the ids {shorten(expected.category_ids)}; {advice}'
        )
    known_ids = {normalize_name(label): number for label, number in zip(expected.names, expected.category_ids)}
    differences = []
    for number, label, expected_name in zip(found.category_ids, found.names, expected.names):
        if normalize_name(label) == normalize_name(expected_name):
            continue
        if normalize_name(label) in known_ids:
            raise DataError(
                f'{path} has {label!r} as category {number}, which is {expected_name!r} in {name} ({label!r} is '
                f'{known_ids[normalize_name(label)]} there), so labels would change; {advice}'
            )
        differences.append(f'{number} is {label!r} instead of {expected_name!r}')
    if differences:
        warnings.warn(f'{path}: category names differ from those of {name}: {shorten(differences)}', stacklevel=3)


def shorten(items: Sequence[Any], number: int = 6) -> str:
    """Comma-separated text of the first ``number`` items."""
    return ', '.join(map(str, items[:number])) + (', ...' if len(items) > number else '')


def class_rows(classes: ClassList) -> list[list]:
    """Classes as stored in the index: [category id, name, is_thing, colour] of each label."""
    return [
        [number, name, label < classes.num_things, list(colour)]
        for label, (number, name, colour) in enumerate(zip(classes.category_ids, classes.names, classes.palette))
    ]
