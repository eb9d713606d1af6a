"""Cityscapes-VPS and VIPER for VPS (Video Panoptic Segmentation, CVPR 2020) in their official file formats."""

import os
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

from mmdvis.errors import DataError
from mmdvis.registry import DATASETS

from .annotation_index import AnnotationIndex, Records, record_or_error
from .annotation_json import Entry, has_annotations, parse_json, read_bytes
from .base import check_unique
from .classes import ClassList, categories_of, class_rows, known_classes
from .panoptic_json import PanopticVideoDataset, panoptic_record, vipseg_records

IMAGE_FILE_SUFFIXES = ('_newImg8bit.png', '_leftImg8bit.png')
MASK_SUFFIXES = ('_final_mask.png', '_gtFine_color.png', '.png')  # Cityscapes-VPS, Cityscapes, other
IDS_PER_VIDEO = 10000  # image ids are video number * IDS_PER_VIDEO + 1, 2, ...


def stem_of(name: str) -> str:
    """File name without a known suffix of an image or mask, else without its extension."""
    return next(
        (name[: -len(end)] for end in (*IMAGE_FILE_SUFFIXES, *MASK_SUFFIXES) if name.endswith(end)), Path(name).stem
    )


def sequence_of(name: str) -> str:
    """Frame key ``city_SSSSSS_NNNNNN`` of a file name or of an image id ``VVVV_FFFF_city_SSSSSS_NNNNNN``."""
    return '_'.join(stem_of(name).split('_')[-3:])


def classes_of_file(content: Entry, name: str) -> ClassList:
    """Categories of a JSON file, or the known class list ``name`` if the file has no categories or no ``isthing``."""
    categories = content.value.get('categories')
    if isinstance(categories, list) and categories and all(isinstance(c, dict) and 'isthing' in c for c in categories):
        return categories_of(content)
    return known_classes(name)


def flat_records(
    content: Entry, classes: ClassList, group: Callable[[Entry], str], rename: Callable[[int, str], str]
) -> Iterator[dict]:
    """Yield the records of a JSON file with flat lists ``images`` and ``annotations``.

    Args:
        content: Content of the JSON file.
        classes: Its classes.
        group: Function that returns the key of the video of an image. The images of a video must be contiguous.
        rename: Function (index of the video, its key) -> name of the video.

    Raises:
        DataError: An entry is malformed, or an annotation has no image.
    """
    gt_entries: dict[str, list[Entry]] = {}
    labelled = has_annotations(content)
    images = list(content.entries('images', 'frame', 'file_name'))
    for annotation in content.entries('annotations', 'annotation', 'image_id') if labelled else ():
        gt_entries.setdefault(annotation.text('image_id'), []).append(annotation)
    unknown_ids = sorted(gt_entries.keys() - {image.text('id') for image in images})
    if unknown_ids:
        raise DataError(f"{content.where}: the image {unknown_ids[0]} has an annotation, but is missing from 'images'")
    groups = [(key, list(frames)) for key, frames in groupby(images, group)]
    names = check_unique((key for key, _ in groups), 'video (its frames must be contiguous)', content.where)
    for number, (key, (_, frames)) in enumerate(zip(names, groups)):
        name = rename(number, key)
        masks = {a.text('image_id'): a.text('file_name') for f in frames for a in gt_entries.get(f.text('id'), ())}
        annotations = [a for f in frames for a in gt_entries.get(f.text('id'), ())] if labelled else None
        yield record_or_error(
            panoptic_record,
            name,
            frames,
            annotations,
            f'{content.where}: video {key}',
            classes.category_ids,
            lambda image: (
                image.text('file_name'),
                masks.get(image.text('id'), stem_of(image.text('file_name')) + MASK_SUFFIXES[0]),
            ),
        )


def read_cityscapes_records(path: Path) -> Records:
    """Read the records of ``panoptic_im_*``, ``panoptic_gt_*`` or ``im_all_info_*``; videos are numbered from 0."""
    content = parse_json(read_bytes(path), path)
    classes = classes_of_file(content, 'CityscapesVPS')
    images = content.items('images')
    if images and all(isinstance(image, dict) and isinstance(image.get('id'), str) for image in images):
        content.value['images'] = sorted(images, key=lambda image: image['id'])  # file of the annotated frames
        records = flat_records(
            content, classes, lambda image: image.text('id').split('_')[0], lambda number, key: str(number)
        )
    else:
        records = flat_records(
            content, classes, lambda image: str(image.integer('id') // IDS_PER_VIDEO), lambda number, key: str(number)
        )
    return dict(classes=class_rows(classes), labelled=has_annotations(content)), records


def read_viper_records(path: Path) -> Records:
    """Read the records in the layout of VIPSeg, or of flat lists with frames named ``<video>_<frame>``."""
    content = parse_json(read_bytes(path), path)
    if 'videos' in content.value:
        return vipseg_records(content, path)
    classes = classes_of_file(content, 'VIPER')
    records = flat_records(
        content, classes, lambda image: Path(image.text('file_name')).stem.rsplit('_', 1)[0], lambda number, key: key
    )
    return dict(classes=class_rows(classes), labelled=has_annotations(content)), records


@DATASETS.register_module()
class CityscapesVPSDataset(PanopticVideoDataset):
    """Cityscapes-VPS. Videos are named by their index in the official order, starting at 0, as in the metrics.

    * training: ``panoptic_im_train_city_vps.json`` with ``train/img`` and the 16-bit ``train/panoptic_inst``;
    * validation: ``panoptic_gt_val_city_vps.json`` with ``val/img`` and the RGB ``val/panoptic_video``, or all 30
      frames of each video: ``im_all_info_val_city_vps.json`` with ``val/img_all``;
    * test: ``im_all_info_test_city_vps.json`` with ``test/img_all``.

    With ``data_prefix['semantic']``, a folder of class maps such as ``train/labelmap``, the semantic head of VPSNet
    also learns the pixels of things without an instance, such as groups of cars.

    Args:
        annotated: JSON file ``panoptic_im_*`` of the split, for use with ``im_all_info_*``. It defines the names of the
            annotated frames in a submission; other frames are predicted but not submitted.
        **kwargs: Arguments of :class:`ClipDataset`.
    """

    METAINFO = dict(dataset_type='CityscapesVPS', task='vps')
    CLASS_LIST = 'CityscapesVPS'
    reader = staticmethod(read_cityscapes_records)

    def __init__(self, annotated: str | None = None, **kwargs: object) -> None:
        self.annotated = annotated
        super().__init__(**kwargs)

    def read_index(self) -> AnnotationIndex:
        """Read the records; if the JSON file has no segments, the ground truth is read from 16-bit PNGs."""
        index = self.open_records()
        self.TRUTH = 'panoptic' if index.meta['labelled'] else 'instance_image'
        self.names = self.names_of_annotated()
        if self.names:
            check_annotated(
                self.names,
                [[sequence_of(frame['image']) for frame in index[k]['frames']] for k in range(len(index))],
                self.annotated,
                self.ann_file,
            )
        return index

    def names_of_annotated(self) -> dict[str, str]:
        """Frame key ``city_SSSSSS_NNNNNN`` -> name of the frame in a submission."""
        if self.annotated is None:
            return {}
        path = Path(self.data_root, self.annotated)
        content = parse_json(read_bytes(path), path)
        return {sequence_of(image.text('id')): image.text('id') for image in content.entries('images', 'frame', 'id')}

    def info_of(self, record: dict) -> dict:
        """Record with full paths.

        The mask suffix is that of the release on disk. Annotated frames are named as in a submission.
        """
        info = super().info_of(record)
        masks, class_maps, frames, submit = self.data_prefix.get('seg', ''), self.data_prefix.get('semantic'), [], []
        for source, frame in zip(record['frames'], info['frames']):
            stem = stem_of(Path(source.get('mask') or source['image']).name)
            mask = existing_mask(masks, stem, frame['mask'])
            frame_key = sequence_of(source['image'])
            frame = dict(frame, mask=mask, name=f'{self.names.get(frame_key, stem)}.png')
            frames.append(dict(frame, semantic=existing_mask(class_maps, stem)) if class_maps else frame)
            submit.append(not self.names or frame_key in self.names)
        return dict(info, frames=frames, submit=submit)


def existing_mask(folder: str, stem: str, otherwise: str | None = None) -> str:
    """Path of the mask of a frame with the suffix that is there; else ``otherwise``, or the first suffix."""
    paths = [str(Path(folder, stem + end)) for end in MASK_SUFFIXES]
    return next((path for path in paths if os.path.isfile(path)), otherwise or paths[0])


def check_annotated(names: dict[str, str], videos: list[list[str]], annotated: str, every: str) -> None:
    """Check that every annotated frame belongs to a video, and that every video has an annotated frame.

    Args:
        names: Frame key -> name of each annotated frame.
        videos: Frame keys of each video.
        annotated: File of the annotated frames, for error messages.
        every: File of all frames, for error messages.

    Raises:
        DataError: A frame belongs to no video, or a video has no annotated frame.
    """
    unknown_keys = sorted(names.keys() - {key for frame_keys in videos for key in frame_keys})
    if unknown_keys:
        raise DataError(
            f'{annotated} lists the frame {names[unknown_keys[0]]}, which is not in {every}; use the same split'
        )
    for number, frame_keys in enumerate(videos):
        if not names.keys() & set(frame_keys):
            raise DataError(
                f'{annotated} lists no frame of video {number} of {every}; each video must have an annotated frame'
            )


@DATASETS.register_module()
class VIPERVPSDataset(PanopticVideoDataset):
    """VIPER for VPS, in the official layout or in the layout of VIPSeg.

    The official layout is the flat ``viper_panoptic_*_video.json`` with ``img`` and ``panoptic_video``. The layout of
    VIPSeg is written by ``tools/dataset_converters/viper.py``.
    """

    METAINFO = dict(dataset_type='VIPER', task='vps')
    CLASS_LIST = 'VIPER'
    reader = staticmethod(read_viper_records)
