"""VSPW (CVPR 2021): semantic masks of videos."""

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
    """The videos of ``train.txt`` and the like, one a line, whatever the line ends are.

    Raises:
        DataError: the file is missing or empty, is no text, or names a video twice.
    """
    try:
        names = [line.strip() for line in read_bytes(path).decode('utf-8-sig').splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise DataError(f'{path} is no text; it must name one video a line') from None
    if not names:
        raise DataError(f'{path} names no video; it must name one a line')
    return list(check_unique(iter(names), 'video', path))


@DATASETS.register_module()
class VSPWDataset(ClipDataset):
    """Reads ``{train,val,test}.txt``, ``data/<video>/origin/*.jpg`` and ``data/<video>/mask/*.png``; test has no masks.

    Labels are in VIPSeg's order, things first. Results have the size of a video's first frame.

    Args:
        categories: where the classes come from: a known list, or a json with ``categories`` (id, name, isthing), whose ids are
            the values of the masks minus one.
        **kwargs: of :class:`ClipDataset`.

    Raises:
        DataError: the list names a video that is not there, or images and masks do not fit together.
    """

    METAINFO = dict(dataset_type='VSPW', task='vss')
    TRUTH = 'semantic'

    def __init__(self, categories: str = 'VSPW', **kwargs: object) -> None:
        self.categories = categories
        super().__init__(**kwargs)

    def read_index(self) -> AnnotationIndex:
        """One record a video of the list."""
        return AnnotationIndex.build(dict(classes=class_rows(self.file_classes())), self.records(), self.faults)

    def file_classes(self) -> ClassList:
        """The classes that the values of the masks stand for."""
        if not self.categories.endswith('.json'):
            return known_classes(self.categories)
        path = Path(self.data_root, self.categories)
        return categories_of(parse_json(read_bytes(path), path))

    def records(self) -> Iterator[dict]:
        """Looks into the folder of every video."""
        every = list(self.file_classes().category_ids)
        for name in read_list(Path(self.ann_file)):
            yield record_or_error(self.record, name, every)

    def record(self, name: str, categories: list[int]) -> dict:
        """The record of a video."""
        folder = Path(self.data_root, 'data', name)
        if not os.path.isdir(folder):
            raise DataError(f'{self.ann_file} names the video {name}, but there is no folder {folder}')
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
        """Paths begin at the root of the dataset."""
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
    """Raises DataError unless every image of a video has a mask, and the reverse."""
    alone = [stem for stem in images if stem not in masks]
    if alone:
        raise DataError(
            f'video {name}, frame {alone[0]}: {folder / "origin"} has an image of it, but there is no mask '
            f'{folder / "mask" / alone[0]}.png; {len(alone)} of {len(images)} frames have none'
        )
    strange = sorted(masks - set(images))
    if strange:
        raise DataError(
            f'video {name}, frame {strange[0]}: {folder / "mask"} has a mask of it, but {folder / "origin"} has no '
            'such image'
        )
