"""VIPER's class and instance images to VIPSeg's layout.

Written from descriptions; nobody here has seen the raw files, whose coding of instances is therefore an argument.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmdvis.datasets.annotation_json import list_folder, write_json
from mmdvis.datasets.classes import known_classes
from mmdvis.errors import DataError
from mmdvis.io import image_size, read_pixels

from .cityscapes_vps import VOID, labels_of_colours
from .frames import frames_in, pair_frames, run_jobs, segments_info, write_frame, write_ids

VIPER_PALETTE = (  # in the order of the train ids: 13 of stuff, 10 of things
    (70, 130, 180),
    (128, 64, 128),
    (244, 35, 232),
    (152, 251, 152),
    (87, 182, 35),
    (35, 142, 35),
    (70, 70, 70),
    (153, 153, 153),
    (190, 153, 153),
    (150, 20, 20),
    (220, 220, 0),
    (180, 180, 100),
    (81, 0, 21),
    (250, 170, 30),
    (173, 153, 153),
    (168, 153, 153),
    (81, 0, 81),
    (220, 20, 60),
    (0, 0, 230),
    (0, 0, 142),
    (0, 80, 100),
    (0, 60, 100),
    (0, 0, 70),
)
FIRST_THING_CLASS = 13
CODINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # RGB (H, W, 3) int32 -> number of the instance, 0 is none
    'rgb': lambda x: x[..., 0] + 256 * x[..., 1] + 65536 * x[..., 2],  # every colour is an instance, black is none
    'class-gb': lambda x: 256 * x[..., 1] + x[..., 2],  # red is the class, green and blue the number
    'class-rg': lambda x: 256 * x[..., 0] + x[..., 1],  # blue is the class, red and green the number
}


def panoptic_ids(colours: np.ndarray, instances: np.ndarray) -> tuple[np.ndarray, dict[tuple[int, int], int]]:
    """The segments of a frame.

    Args:
        colours (H, W, 3): class image.
        instances (H, W): number of the instance, 0 is none.

    Returns:
        index of the segment (H, W), 0 is void; (train id, number) -> index. Stuff has the number 0; a thing without an instance
        is void.
    """
    labels = labels_of_colours(colours, VIPER_PALETTE).astype(np.int64)
    is_stuff, is_thing = labels < FIRST_THING_CLASS, (labels >= FIRST_THING_CLASS) & (labels != VOID) & (instances > 0)
    codes = np.where(is_stuff, (labels + 1) << 32, np.where(is_thing, ((labels + 1) << 32) + instances, 0))
    found, place = np.unique(codes, return_inverse=True)
    keys = {(int(code >> 32) - 1, int(code & 0xFFFFFFFF)): k for k, code in enumerate(found.tolist()) if code}
    return place.reshape(codes.shape), dict(keys.items())


def prepare_viper_video(name: str, raw: str, out: str, split: str, coding: str) -> tuple[dict, dict]:
    """Prepares one video; its ids are numbered in the order in which its segments are met, and stay the same in all frames."""
    folders, target = {kind: Path(raw, split, kind, name) for kind in ('img', 'cls', 'inst')}, Path(out, split)
    numbers: dict[tuple[int, int], int] = {}
    images, annotations = [], []
    for image, mask in pair_frames(
        frames_in(folders['img'], ('.jpg', '.png')), frames_in(folders['cls'], ('.png',)), name
    ):
        size, instance = image_size(image), folders['inst'] / f'{image.stem}.png'
        colours, codes = (np.asarray(read_pixels(path, kinds=('PNG',)).convert('RGB')) for path in (mask, instance))
        if not colours.shape[:2] == codes.shape[:2] == size:
            raise DataError(
                f'video {name}, frame {image.stem}: {image} is {size} (height, width), {mask} {colours.shape[:2]}, '
                f'{instance} {codes.shape[:2]}'
            )
        place, found = panoptic_ids(colours, CODINGS[coding](codes.astype(np.int32)))
        table = np.zeros(place.max() + 1, np.int32)
        for key, k in found.items():
            table[k] = numbers.setdefault(key, len(numbers) + 1)
        ids = table[place]
        write_frame(image, target / 'img' / name / f'{image.stem}.jpg', size)
        write_ids(ids, target / 'panomasksRGB' / name / f'{image.stem}.png')
        images.append(dict(id=image.stem, width=size[1], height=size[0], file_name=f'{image.stem}.png'))
        annotations.append(
            dict(
                image_id=image.stem,
                file_name=f'{image.stem}.png',
                segments_info=segments_info(ids, {numbers[key]: key[0] for key in found}),
            )
        )
    return dict(video_id=name, images=images), dict(video_id=name, annotations=annotations)


def prepare_viper(raw: Path, out: Path, split: str, coding: str, workers: int = 2) -> Path:
    """Prepares one split.

    Args:
        raw: holds ``<split>/{img,cls,inst}/<video>/<video>_<frame>.*``.
        out: folder to fill, in VIPSeg's layout.
        split: ``train`` or ``val_day``, as the folder is called.
        coding: of the instance images, see ``CODINGS``.
        workers: processes.

    Returns:
        the json.

    Raises:
        DataError: videos could not be prepared.
    """
    names: list[str] = list_folder(raw / split / 'img')
    done = run_jobs(prepare_viper_video, names, workers, split, raw=str(raw), out=str(out), split=split, coding=coding)
    classes = known_classes('VIPER')
    categories = [
        dict(
            id=k,
            name=classes.names[classes.labels[k]],
            isthing=int(k >= FIRST_THING_CLASS),
            color=list(VIPER_PALETTE[k]),
        )
        for k in range(len(VIPER_PALETTE))
    ]
    return write_json(
        out / f'panoptic_gt_VIPER_{split}.json',
        dict(
            videos=[video for video, _ in done],
            annotations=[annotation for _, annotation in done],
            categories=categories,
        ),
    )
