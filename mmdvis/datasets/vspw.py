"""VSPW (CVPR 2021), video semantic segmentation."""

import os
from collections.abc import Iterator
from pathlib import Path

from mmdvis.errors import DataError
from mmdvis.io import IMAGE_SUFFIXES
from mmdvis.registry import DATASETS

from .annotation_index import AnnotationIndex, record_or_error
from .annotation_json import list_folder, parse_json, read_bytes
from .base import ClipDataset, check_order, check_unique
from .classes import ClassList, categories_of, class_rows, known_classes


def read_list(path: Path) -> list[str]:
    """Read a list of videos, such as ``train.txt``, with one video name per line and any line endings.

    Raises:
        DataError: The file is missing, empty or not a text file, or a video occurs more than once.
    """
    try:
        names = [line.strip() for line in read_bytes(path).decode('utf-8-sig').splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise DataError(f'{path} is not a text file; it must have one video name per line') from None
    if not names:
        raise DataError(f'{path} lists no video; it must have one video name per line')
    return list(check_unique(iter(names), 'video', path))


@DATASETS.register_module()
class VSPWDataset(ClipDataset):
    """Reads ``{train,val,test}.txt``, ``data/<video>/origin/*.jpg`` and ``data/<video>/mask/*.png``.

    The test split has no masks. Labels are in the order of VIPSeg, things first. Predictions have the size of the first
    frame of a video.

    Args:
        categories: Name of a known class list, or a JSON file with ``categories`` (id, name, isthing), whose ids are
            the mask values minus one.
        **kwargs: Arguments of :class:`ClipDataset`.

    Raises:
        DataError: A listed video is missing, or images and masks do not match.
    """

    METAINFO = dict(dataset_type='VSPW', task='vss')
    TRUTH = 'semantic'

    def __init__(self, categories: str = 'VSPW', **kwargs: object) -> None:
        self.categories = categories
        super().__init__(**kwargs)

    def read_index(self) -> AnnotationIndex:
        """Build one record per listed video."""
        classes = self.file_classes()
        return AnnotationIndex.build(dict(classes=class_rows(classes)), self.records(classes), self.faults)

    def file_classes(self) -> ClassList:
        """Classes of the mask values."""
        if not self.categories.endswith('.json'):
            return known_classes(self.categories)
        path = Path(self.data_root, self.categories)
        return categories_of(parse_json(read_bytes(path), path))

    def records(self, classes: ClassList) -> Iterator[dict]:
        """Yield the record of each listed video."""
        category_ids = list(classes.category_ids)
        for name in read_list(Path(self.ann_file)):
            yield record_or_error(self.record, name, category_ids)

    def record(self, name: str, categories: list[int]) -> dict:
        """Build the record of a video.

        Args:
            name: Name of the video.
            categories: Category ids of all classes.

        Raises:
            DataError: The folder or a frame is missing, or images and masks do not match.
        """
        folder = Path(self.data_root, 'data', name)
        if not os.path.isdir(folder):
            raise DataError(f'{self.ann_file} lists the video {name}, but there is no folder {folder}')
        images = list_folder(folder / 'origin', IMAGE_SUFFIXES)
        check_order(images, f'video {name}: {folder / "origin"}')
        stems = list(
            check_unique((Path(image).stem for image in images), 'frame', f'video {name}: {folder / "origin"}')
        )
        labelled = not self.test_mode or os.path.exists(folder / 'mask')
        if labelled:
            masks = {Path(mask).stem for mask in list_folder(folder / 'mask', ('.png',))}
            check_masks(stems, masks, folder, name)
        frames = [
            dict(
                name=f'{stem}.png',
                image=f'data/{name}/origin/{image}',
                mask=f'data/{name}/mask/{stem}.png' if labelled else None,
            )
            for stem, image in zip(stems, images)
        ]
        return dict(video_id=name, size=None, categories=categories, frames=frames)

    def info_of(self, record: dict) -> dict:
        """Record with full paths below the data root."""
        info = super().info_of(record)
        frames = [
            dict(
                frame,
                image=str(Path(self.data_root, frame['image'])),
                mask=str(Path(self.data_root, frame['mask'])) if frame.get('mask') else None,
            )
            for frame in record['frames']
        ]
        return dict(info, frames=frames)


def check_masks(images: list[str], masks: set, folder: Path, name: str) -> None:
    """Check that images and masks of a video correspond one to one.

    Args:
        images: Stems of the images.
        masks: Stems of the masks.
        folder: Folder of the video.
        name: Name of the video.

    Raises:
        DataError: An image has no mask, or a mask has no image.
    """
    without_mask = [stem for stem in images if stem not in masks]
    if without_mask:
        raise DataError(
            f'video {name}, frame {without_mask[0]}: {folder / "origin"} has an image, but there is no mask '
            f'{folder / "mask" / without_mask[0]}.png; {len(without_mask)} of {len(images)} frames have no mask'
        )
    without_image = sorted(masks - set(images))
    if without_image:
        raise DataError(
            f'video {name}, frame {without_image[0]}: {folder / "mask"} has a mask, but {folder / "origin"} has no '
            'image of this frame'
        )
