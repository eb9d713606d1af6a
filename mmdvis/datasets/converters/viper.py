"""Converter for VIPER: class and instance images to the layout of VIPSeg.

Not validated on the official release. The encoding of the instance images is therefore an argument.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mmdvis.checks import path_inside
from mmdvis.datasets.annotation_json import list_folder
from mmdvis.datasets.classes import known_classes
from mmdvis.errors import DataError
from mmdvis.io import image_size, read_pixels, write_json

from .cityscapes_vps import VOID, labels_of_colours
from .frames import frames_in, pair_frames, run_jobs, segments_info, write_frame, write_ids

VIPER_PALETTE = (  # RGB colours in the order of the train ids: 13 stuff and 10 thing classes
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
CODINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # RGB (H, W, 3) int32 -> instance number, 0 for none
    'rgb': lambda x: x[..., 0] + 256 * x[..., 1] + 65536 * x[..., 2],  # each colour is an instance, black is none
    'class-gb': lambda x: 256 * x[..., 1] + x[..., 2],  # red is the class, green and blue the instance number
    'class-rg': lambda x: 256 * x[..., 0] + x[..., 1],  # blue is the class, red and green the instance number
}


def panoptic_ids(colours: np.ndarray, instances: np.ndarray) -> tuple[np.ndarray, dict[tuple[int, int], int]]:
    """Compute the segments of a frame.

    Args:
        colours: RGB class image (H, W, 3).
        instances: Instance numbers (H, W), 0 for none.

    Returns:
        Segment indices (H, W), 0 for void, and a dictionary (train id, instance number) -> index. Stuff has the
        instance number 0; things without an instance are void.
    """
    labels = labels_of_colours(colours, VIPER_PALETTE).astype(np.int64)
    is_stuff, is_thing = labels < FIRST_THING_CLASS, (labels >= FIRST_THING_CLASS) & (labels != VOID) & (instances > 0)
    codes = np.where(is_stuff, (labels + 1) << 32, np.where(is_thing, ((labels + 1) << 32) + instances, 0))
    unique_codes, positions = np.unique(codes, return_inverse=True)
    keys = {(int(code >> 32) - 1, int(code & 0xFFFFFFFF)): k for k, code in enumerate(unique_codes.tolist()) if code}
    return positions.reshape(codes.shape), keys


def prepare_viper_video(
    name: str, raw: str, out: str, split: str, coding: str, first: int | None = None
) -> tuple[dict, dict]:
    """Convert a video. Segment ids are numbered by first occurrence and consistent in all frames.

    Args:
        name: Name of the video.
        raw: Root folder of the official release.
        out: Root folder of the converted dataset.
        split: Name of the split.
        coding: Encoding of the instance images, a key of ``CODINGS``.
        first: Number of frames to convert, from the start of the video; None: all.

    Returns:
        Entries of ``videos`` and of ``annotations``.

    Raises:
        DataError: A file is missing or unreadable, or sizes differ.
    """
    folders, target = {kind: Path(raw, split, kind, name) for kind in ('img', 'cls', 'inst')}, Path(out, split)
    numbers: dict[tuple[int, int], int] = {}
    images, annotations = [], []
    pairs = pair_frames(frames_in(folders['img'], ('.jpg', '.png')), frames_in(folders['cls'], ('.png',)), name)
    for image, mask in list(pairs)[:first]:
        size, instance = image_size(image), folders['inst'] / f'{image.stem}.png'
        colours, codes = (np.asarray(read_pixels(path, kinds=('PNG',)).convert('RGB')) for path in (mask, instance))
        if not colours.shape[:2] == codes.shape[:2] == size:
            raise DataError(
                f'video {name}, frame {image.stem}: {image} is {size} (height, width), {mask} is {colours.shape[:2]} '
                f'and {instance} is {codes.shape[:2]}; all must have the same size'
            )
        positions, index_of_segment = panoptic_ids(colours, CODINGS[coding](codes.astype(np.int32)))
        table = np.zeros(positions.max() + 1, np.int32)
        for key, k in index_of_segment.items():
            table[k] = numbers.setdefault(key, len(numbers) + 1)
        ids = table[positions]
        write_frame(image, path_inside(target / 'img', name) / f'{image.stem}.jpg', size)
        write_ids(ids, path_inside(target / 'panomasksRGB', name) / f'{image.stem}.png')
        images.append(dict(id=image.stem, width=size[1], height=size[0], file_name=f'{image.stem}.png'))
        annotations.append(
            dict(
                image_id=image.stem,
                file_name=f'{image.stem}.png',
                segments_info=segments_info(ids, {numbers[key]: key[0] for key in index_of_segment}),
            )
        )
    return dict(video_id=name, images=images), dict(video_id=name, annotations=annotations)


def prepare_viper(
    raw: Path,
    out: Path,
    split: str,
    coding: str,
    workers: int = 2,
    first: int | None = None,
    videos: Sequence[str] | None = None,
) -> Path:
    """Convert a split.

    Args:
        raw: Root folder of the official release, with ``<split>/{img,cls,inst}/<video>/<video>_<frame>.*``.
        out: Output folder, in the layout of VIPSeg.
        split: Folder name of the split, such as ``train`` or ``val_day``.
        coding: Encoding of the instance images, a key of ``CODINGS``.
        workers: Number of processes.
        first: Number of frames to convert of each video, from its start; None: all. The published results of VIPER are
            those of the first 60 frames of 10 videos of ``val_day``.
        videos: Names of the videos to convert; None: all of the split.

    Returns:
        Path of the JSON file, which lists what was converted and nothing else.

    Raises:
        DataError: A video is not in the split, ``first`` is less than 1, or videos could not be converted.
    """
    if first is not None and first < 1:
        raise DataError(f'--first must be at least 1, got {first}; it is the number of frames of each video')
    names: list[str] = list_folder(raw / split / 'img')
    missing = sorted(set(videos or ()) - set(names))
    if missing:
        raise DataError(f'{raw / split / "img"} has no video {missing[0]}; it has {", ".join(names)}')
    names = [name for name in names if videos is None or name in videos]
    entries = run_jobs(
        prepare_viper_video, names, workers, split, raw=str(raw), out=str(out), split=split, coding=coding, first=first
    )
    return write_json(
        out / f'panoptic_gt_VIPER_{split}.json',
        dict(
            videos=[video for video, _ in entries],
            annotations=[annotation for _, annotation in entries],
            categories=known_classes('VIPER').panoptic_categories(VIPER_PALETTE),
        ),
    )
