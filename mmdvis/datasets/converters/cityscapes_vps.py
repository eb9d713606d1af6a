"""Converter for Cityscapes-VPS: class and instance images to panoptic maps and the JSON files of the benchmark."""

from pathlib import Path
from typing import Any

import numpy as np

from mmdvis.datasets.annotation_json import list_folder
from mmdvis.datasets.cityscapes_vps import IDS_PER_VIDEO, sequence_of, stem_of
from mmdvis.datasets.classes import known_classes
from mmdvis.errors import DataError
from mmdvis.io import image_size, read_pixels, write_json

from .frames import run_jobs, save_image, segments_info, write_exact, write_ids

VOID, FRAMES, LEAD = 255, 30, 4  # void value, frames per video, frames before the first annotated frame
CITYSCAPES_PALETTE = (  # RGB colours of the 19 classes, in the order of the train ids
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
    """Convert a colour-coded class image to labels.

    Args:
        image: RGB image (H, W, 3).
        colours: RGB colour of each label.

    Returns:
        Labels (H, W) uint8, 255 for other colours.
    """
    codes = image.astype(np.int32) @ np.array([1, 256, 65536])
    class_codes = np.array(colours) @ np.array([1, 256, 65536])
    order = np.argsort(class_codes)
    position = np.searchsorted(class_codes[order], codes).clip(max=len(order) - 1)
    return np.where(class_codes[order][position] == codes, order[position], VOID).astype(np.uint8)


def panoptic_values(labels: np.ndarray, instances: np.ndarray) -> np.ndarray:
    """Panoptic map uint16 (H, W): train id for stuff, train id * 1000 + instance number for things, 255 for void.

    Args:
        labels: Train ids (H, W) of the class image, 255 for void.
        instances: Instance ids (H, W) of Cityscapes; values below 1000 are not instances. The class of an instance is
            the most frequent label of its pixels.
    """
    values = np.where(labels < FIRST_THING_TRAIN_ID, labels, VOID).astype(np.uint16)
    for number in np.unique(instances[instances >= 1000]).tolist():
        mask = instances == number
        label = int(np.bincount(labels[mask], minlength=256).argmax())
        values[mask] = label * 1000 + number % 1000 if FIRST_THING_TRAIN_ID <= label < len(CITYSCAPES_PALETTE) else VOID
    return values


def prepare_frame(stem: str, root: str, split: str) -> tuple[str, tuple[int, int], list[dict[str, Any]]]:
    """Write the label map, the instance map and the panoptic PNG of an annotated frame.

    Args:
        stem: Image id of the frame.
        root: Root folder of the dataset.
        split: Name of the split.

    Returns:
        File name of the mask, (height, width), and ``segments_info``.

    Raises:
        DataError: A file is missing or unreadable, or class and instance image differ in size.
    """
    folder, masks = (
        Path(root, split),
        [end for end in ('_final_mask.png', '_gtFine_color.png') if Path(root, split, 'cls', stem + end).is_file()],
    )
    if not masks:
        raise DataError(
            f'frame {stem}: there is no class image {folder / "cls" / stem}_final_mask.png or _gtFine_color.png'
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
            f'frame {stem}: the class image is {colours.shape[:2]} (height, width), but the instance image '
            f'is {instances.shape}'
        )
    labels = labels_of_colours(colours, CITYSCAPES_PALETTE)
    values = panoptic_values(labels, instances)
    write_exact(labels, folder / 'labelmap' / name)
    write_exact(values, folder / 'panoptic_inst' / name)
    ids = np.where(values == VOID, 0, values.astype(np.int32) + 1)
    write_ids(ids, folder / 'panoptic_video' / name)
    segment_ids = np.unique(ids[ids > 0]).tolist()
    categories = {number: (number - 1) // 1000 if number > 1000 else number - 1 for number in segment_ids}
    return name, colours.shape[:2], segments_info(ids, categories)


def dense_frames(names: list[str]) -> list[str]:
    """Frame keys ``city_SSSSSS_NNNNNN`` of all 30 frames of a video.

    Args:
        names: Image ids of the annotated frames, sorted.
    """
    city, sequence, first = sequence_of(names[0]).rsplit('_', 2)
    return [f'{city}_{sequence}_{int(first) - LEAD + k:06d}' for k in range(FRAMES)]


def collect_frames(root: Path, split: str, names: list[str], sequence: Path | None) -> None:
    """Copy the frames that are missing from ``img_all`` from ``leftImg8bit_sequence``.

    Args:
        root: Root folder of the dataset.
        split: Name of the split.
        names: Frame keys ``city_SSSSSS_NNNNNN``.
        sequence: Folder with ``<city>/<frame>_leftImg8bit.png``, None if not available.

    Raises:
        DataError: A frame is missing.
    """
    target = root / split / 'img_all'
    target.mkdir(parents=True, exist_ok=True)
    for frame_key in names:
        path = target / f'{frame_key}_leftImg8bit.png'
        if path.is_file():
            continue
        source = None if sequence is None else sequence / frame_key.split('_')[0] / path.name
        if source is None or not source.is_file():
            raise DataError(
                f'{path} is missing{"" if source is None else f", and so is {source}"}; set --sequence to the folder '
                'leftImg8bit_sequence/val of Cityscapes'
            )
        save_image(read_pixels(source), path)


def prepare_split(root: Path, split: str, sequence: Path | None = None, workers: int = 2) -> dict[str, Path]:
    """Write the maps and JSON files of a split.

    Args:
        root: Root folder of the dataset, with ``<split>/img``, ``<split>/cls`` and ``<split>/inst``; a test split only
            requires ``img``.
        split: Name of the split.
        sequence: Folder with ``<city>/<frame>_leftImg8bit.png``, from which unannotated frames are copied.
        workers: Number of processes.

    Returns:
        Kind of JSON file (``'im'``, ``'gt'``, ``'all'``) -> path. Empty for a split without ``img``, because the
        official test split already contains its JSON files.

    Raises:
        DataError: A file is missing, sizes differ, or a video does not have six annotated frames.
    """
    if not (root / split / 'img').is_dir():
        return {}
    file_names = sorted(list_folder(root / split / 'img', ('.png',)))
    stems = [stem_of(name) for name in file_names]
    files = dict(zip(stems, file_names))
    videos: dict[str, list[str]] = {}
    for stem in stems:
        videos.setdefault(stem.split('_')[0], []).append(stem)
    invalid_videos = [video for video, names in videos.items() if len(names) != 6]
    if invalid_videos or not videos:
        raise DataError(
            f'{root / split / "img"}: video {invalid_videos[0] if invalid_videos else "?"} has '
            f'{len(videos[invalid_videos[0]]) if invalid_videos else 0} annotated frames; Cityscapes-VPS has 6'
        )
    categories = known_classes('CityscapesVPS').panoptic_categories(CITYSCAPES_PALETTE)
    labelled, written, maps = (root / split / 'cls').is_dir(), {}, []
    if labelled:
        maps = run_jobs(prepare_frame, stems, workers, split, root=str(root), split=split)
    images = []
    for stem in stems:
        height, width = image_size(root / split / 'img' / files[stem])
        images.append(dict(id=stem, file_name=files[stem], width=width, height=height))
    for image, (name, size, _) in zip(images, maps):
        if size != (image['height'], image['width']):
            raise DataError(
                f'frame {image["id"]}: the image is {(image["height"], image["width"])} (height, width), but its '
                f'mask {name} is {size}'
            )
    written['im'] = write_json(root / f'panoptic_im_{split}_city_vps.json', dict(images=images, categories=categories))
    if labelled:
        annotations = [
            dict(image_id=stem, file_name=name, segments_info=segments)
            for stem, (name, _, segments) in zip(stems, maps)
        ]
        written['gt'] = write_json(
            root / f'panoptic_gt_{split}_city_vps.json',
            dict(images=images, annotations=annotations, categories=categories),
        )
    if split != 'train':
        all_images = []
        for video, names in videos.items():
            collect_frames(root, split, dense_frames(names), sequence)
            all_images += [
                dict(id=int(video) * IDS_PER_VIDEO + k, file_name=f'{frame_key}_leftImg8bit.png')
                for k, frame_key in enumerate(dense_frames(names), 1)
            ]
        written['all'] = write_json(
            root / f'im_all_info_{split}_city_vps.json', dict(images=all_images, categories=categories)
        )
    return written
