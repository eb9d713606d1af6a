"""Cityscapes-VPS: from class and instance images to panoptic maps and the jsons of the benchmark."""

from pathlib import Path
from typing import Any

import numpy as np

from mmdvis.datasets.annotation_json import list_folder, write_json
from mmdvis.datasets.cityscapes_vps import IDS_PER_VIDEO, sequence_of, stem_of
from mmdvis.datasets.classes import known_classes
from mmdvis.errors import DataError
from mmdvis.io import image_size, read_pixels

from .frames import run_jobs, save_image, segments_info, write_exact, write_ids

VOID, FRAMES, LEAD = 255, 30, 4  # frames of a video, and those before the first annotated one
CITYSCAPES_PALETTE = (  # of the 19 classes, in the order of their train ids
    (128, 64, 128),
    (244, 35, 232),
    (70, 70, 70),
    (102, 102, 156),
    (190, 153, 153),
    (153, 153, 153),
    (250, 170, 30),
    (220, 220, 0),
    (107, 142, 35),
    (152, 251, 152),
    (70, 130, 180),
    (220, 20, 60),
    (255, 0, 0),
    (0, 0, 142),
    (0, 0, 70),
    (0, 60, 100),
    (0, 80, 100),
    (0, 0, 230),
    (119, 11, 32),
)
FIRST_THING_TRAIN_ID = 11


def labels_of_colours(image: np.ndarray, colours: tuple[tuple[int, int, int], ...]) -> np.ndarray:
    """RGB (H, W, 3) -> index of each colour (H, W) uint8, 255 where it is none of them."""
    codes = image.astype(np.int32) @ np.array([1, 256, 65536])
    known_codes = np.array(colours) @ np.array([1, 256, 65536])
    order = np.argsort(known_codes)
    place = np.searchsorted(known_codes[order], codes).clip(max=len(order) - 1)
    return np.where(known_codes[order][place] == codes, order[place], VOID).astype(np.uint8)


def panoptic_values(labels: np.ndarray, instances: np.ndarray) -> np.ndarray:
    """16-bit map: stuff is its train id, a thing train id * 1000 + number, all else 255.

    Args:
        labels (H, W): train ids by colour, 255 is void.
        instances (H, W): Cityscapes' instance ids; below 1000 there is no instance. The class of one is that which most of its
            pixels have.
    """
    values = np.where(labels < FIRST_THING_TRAIN_ID, labels, VOID).astype(np.uint16)
    for number in np.unique(instances[instances >= 1000]).tolist():
        mask = instances == number
        label = int(np.bincount(labels[mask], minlength=256).argmax())
        values[mask] = label * 1000 + number % 1000 if FIRST_THING_TRAIN_ID <= label < len(CITYSCAPES_PALETTE) else VOID
    return values


def prepare_frame(stem: str, root: str, split: str) -> tuple[str, tuple[int, int], list[dict[str, Any]]]:
    """Writes the three maps of an annotated frame.

    Returns:
        name of the mask, (height, width), and its segments.
    """
    folder, masks = (
        Path(root, split),
        [end for end in ('_final_mask.png', '_gtFine_color.png') if Path(root, split, 'cls', stem + end).is_file()],
    )
    if not masks:
        raise DataError(
            f'frame {stem}: there is neither of {folder / "cls" / stem}_final_mask.png and _gtFine_color.png'
        )
    name = stem + masks[0]
    colours = np.asarray(read_pixels(folder / 'cls' / name, kinds=('PNG',)).convert('RGB'))
    files = [
        path for path in ((folder / 'inst' / name), *sorted((folder / 'inst').glob(f'{stem}_*.png'))) if path.is_file()
    ]
    if not files:
        raise DataError(f'frame {stem}: there is no instance image {folder / "inst" / name}')
    instances = np.asarray(read_pixels(files[0], modes=('I', 'I;16', 'I;16B'), kinds=('PNG',))).astype(np.int64)
    if instances.shape != colours.shape[:2]:
        raise DataError(
            f'frame {stem}: the class image is {colours.shape[:2]} (height, width), the instance image '
            f'{instances.shape}'
        )
    labels = labels_of_colours(colours, CITYSCAPES_PALETTE)
    values = panoptic_values(labels, instances)
    write_exact(labels, folder / 'labelmap' / name)
    write_exact(values, folder / 'panoptic_inst' / name)
    ids = np.where(values == VOID, 0, values.astype(np.int32) + 1)
    write_ids(ids, folder / 'panoptic_video' / name)
    found = np.unique(ids[ids > 0]).tolist()
    categories = {number: (number - 1) // 1000 if number > 1000 else number - 1 for number in found}
    return name, colours.shape[:2], segments_info(ids, categories)


def dense_frames(names: list[str]) -> list[str]:
    """``city_SSSSSS_NNNNNN`` of all 30 frames of a video, of which ``names`` (ids) are annotated."""
    city, sequence, first = sequence_of(names[0]).rsplit('_', 2)
    return [f'{city}_{sequence}_{int(first) - LEAD + k:06d}' for k in range(FRAMES)]


def collect_frames(root: Path, split: str, names: list[str], sequence: Path | None) -> None:
    """Copies frames that are not in ``img_all`` yet out of ``leftImg8bit_sequence``."""
    target = root / split / 'img_all'
    target.mkdir(parents=True, exist_ok=True)
    for place in names:
        path = target / f'{place}_leftImg8bit.png'
        if path.is_file():
            continue
        source = None if sequence is None else sequence / place.split('_')[0] / path.name
        if source is None or not source.is_file():
            raise DataError(
                f'{path} is missing{"" if source is None else f", and so is {source}"}; --sequence names the folder '
                'leftImg8bit_sequence/val of Cityscapes'
            )
        save_image(read_pixels(source), path)


def prepare_split(root: Path, split: str, sequence: Path | None = None, workers: int = 2) -> dict[str, Path]:
    """Writes maps and jsons of one split.

    Args:
        root: of the dataset, with ``<split>/img``, ``<split>/cls`` and ``<split>/inst``; of a test split only ``img``.
        split: its name.
        sequence: folder with ``<city>/<frame>_leftImg8bit.png``, to copy frames that are not annotated from.
        workers: processes.

    Returns:
        kind of json -> its path; none for a split without ``img`` (the official test split comes with its jsons).

    Raises:
        DataError: files are missing, or videos are not of six annotated frames.
    """
    if not (root / split / 'img').is_dir():
        return {}
    stems = [stem_of(name) for name in sorted(list_folder(root / split / 'img', ('.png',)))]
    files = dict(zip(stems, sorted(list_folder(root / split / 'img', ('.png',)))))
    videos: dict[str, list[str]] = {}
    for stem in stems:
        videos.setdefault(stem.split('_')[0], []).append(stem)
    wrong = [video for video, names in videos.items() if len(names) != 6]
    if wrong or not videos:
        raise DataError(
            f'{root / split / "img"}: video {wrong[0] if wrong else "?"} has {len(videos[wrong[0]]) if wrong else 0} '
            'annotated frames; Cityscapes-VPS has 6'
        )
    classes = known_classes('CityscapesVPS')
    categories = [
        dict(
            id=k,
            name=classes.names[classes.labels[k]],
            isthing=int(k >= FIRST_THING_TRAIN_ID),
            color=list(CITYSCAPES_PALETTE[k]),
        )
        for k in range(len(CITYSCAPES_PALETTE))
    ]
    labelled, written, done = (root / split / 'cls').is_dir(), {}, []
    if labelled:
        done = run_jobs(prepare_frame, stems, workers, split, root=str(root), split=split)
    images = []
    for stem in stems:
        height, width = image_size(root / split / 'img' / files[stem])
        images.append(dict(id=stem, file_name=files[stem], width=width, height=height))
    for image, (name, size, _) in zip(images, done):
        if size != (image['height'], image['width']):
            raise DataError(
                f'frame {image["id"]}: the image is {(image["height"], image["width"])} (height, width), its mask '
                f'{name} {size}'
            )
    written['im'] = write_json(root / f'panoptic_im_{split}_city_vps.json', dict(images=images, categories=categories))
    if labelled:
        annotations = [
            dict(image_id=stem, file_name=name, segments_info=segments)
            for stem, (name, _, segments) in zip(stems, done)
        ]
        written['gt'] = write_json(
            root / f'panoptic_gt_{split}_city_vps.json',
            dict(images=images, annotations=annotations, categories=categories),
        )
    if split != 'train':
        every = []
        for video, names in videos.items():
            collect_frames(root, split, dense_frames(names), sequence)
            every += [
                dict(id=int(video) * IDS_PER_VIDEO + k, file_name=f'{place}_leftImg8bit.png')
                for k, place in enumerate(dense_frames(names), 1)
            ]
        written['all'] = write_json(
            root / f'im_all_info_{split}_city_vps.json', dict(images=every, categories=categories)
        )
    return written
