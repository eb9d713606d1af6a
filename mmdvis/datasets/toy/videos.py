"""Writes synthetic videos in the prepared layout of VIPSeg."""

from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from mmdvis.io import id_to_rgb, write_json

from .scene import SHAPES, STUFF, STUFF_ID, VOID_ID, SceneOptions, draw_scene, render

TOY_SPLITS = ('train', 'val')
COLOURS = (  # of the classes in the files: things, then sky, hill, water, grass and brick
    (230, 70, 70),
    (70, 130, 230),
    (240, 170, 50),
    (170, 90, 220),
    (50, 190, 170),
    (230, 100, 180),
    (130, 190, 235),
    (150, 140, 80),
    (60, 120, 190),
    (90, 170, 80),
    (170, 95, 75),
)


def categories() -> list[dict]:
    """Category list of the JSON files: things are 0 to 5, followed by stuff."""
    names = [*SHAPES, *STUFF]
    return [dict(id=i, name=name, isthing=int(i < len(SHAPES)), color=list(COLOURS[i])) for i, name in enumerate(names)]


def category_of(segment_id: int, shapes: list[int]) -> int:
    """Category id of a value in the id map; ``shapes`` contains the shape of each thing."""
    return len(SHAPES) + segment_id - STUFF_ID if segment_id >= STUFF_ID else shapes[segment_id - 1]


def toy_segments(ids: np.ndarray, shapes: list[int]) -> list[dict]:
    """``segments_info`` of the id map of a frame."""
    segments = []
    for segment_id, area in zip(*np.unique(ids, return_counts=True)):
        if segment_id == VOID_ID:
            continue
        rows, columns = np.nonzero(ids == segment_id)
        box = [columns.min(), rows.min(), columns.max() - columns.min() + 1, rows.max() - rows.min() + 1]
        segments.append(
            dict(
                id=int(segment_id),
                category_id=category_of(int(segment_id), shapes),
                area=int(area),
                iscrowd=0,
                bbox=[int(x) for x in box],
            )
        )
    return segments


def write_video(name: str, root: Path, seed: tuple[int, ...], options: SceneOptions) -> tuple[dict, dict]:
    """Writes one video; returns its entries in ``videos`` and in ``annotations``."""
    rng = np.random.default_rng(seed)
    scene = draw_scene(rng, options)
    shapes = [thing.shape for thing in scene.things]
    folders = [root / 'images' / name, root / 'panomasksRGB' / name]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for t in range(options.num_frames):
        image, ids = render(scene, t, rng)
        stem = f'{t:08d}'
        Image.fromarray(image).save(folders[0] / f'{stem}.jpg', quality=95)
        Image.fromarray(id_to_rgb(ids)).save(folders[1] / f'{stem}.png')
        images.append(dict(id=stem, width=ids.shape[1], height=ids.shape[0], file_name=f'{stem}.png'))
        annotations.append(dict(image_id=stem, file_name=f'{stem}.png', segments_info=toy_segments(ids, shapes)))
    return dict(video_id=name, images=images), dict(video_id=name, annotations=annotations)


def write_toy_videos(
    out: str | Path,
    seed: int = 0,
    num_train: int = 400,
    num_val: int = 24,
    options: SceneOptions = SceneOptions(),
    num_workers: int = 2,
    progress: bool = True,
) -> dict[str, Path]:
    """Writes the training and the validation split.

    The same seed gives the same bytes, with any number of workers.

    Args:
        out: Output folder; files of the same names are replaced.
        seed: Random seed.
        num_train: Number of training videos.
        num_val: Number of validation videos.
        options: Options from which scenes are drawn.
        num_workers: Number of processes; 1 uses the process of the caller.
        progress: Whether to show a progress bar.

    Returns:
        Split -> path of its JSON file.
    """
    out, files = Path(out), {}
    for split, (name, count) in enumerate(zip(TOY_SPLITS, (num_train, num_val))):
        names = [f'{name}_{k:04d}' for k in range(count)]
        seeds = [(seed, split, k) for k in range(count)]
        arguments = (names, repeat(out), seeds, repeat(options))
        with ExitStack() as stack:
            written = map(write_video, *arguments)
            if num_workers > 1:
                pool = stack.enter_context(ProcessPoolExecutor(num_workers, get_context('spawn')))
                written = pool.map(write_video, *arguments, chunksize=8)
            entries = list(tqdm(written, total=count, desc=f'toy {name}', disable=not progress))
        files[name] = out / f'panoptic_gt_VIPSeg_{name}.json'
        write_json(
            files[name],
            dict(
                videos=[video for video, _ in entries],
                annotations=[frames for _, frames in entries],
                categories=categories(),
            ),
        )
    return files
