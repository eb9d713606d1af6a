"""Cityscapes-VPS and VIPER for VPS (Video Panoptic Segmentation, CVPR 2020) in the files of their authors."""

import os
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

from mmdvis.errors import DataError
from mmdvis.registry import DATASETS

from .annotation_index import AnnotationIndex, Records, open_index, record_or_error
from .annotation_json import Entry, has_annotations, parse_json, read_bytes
from .base import check_unique
from .classes import ClassList, categories_of, class_rows, known_classes
from .panoptic_json import PanopticVideoDataset, panoptic_record, vipseg_records

IMAGE_FILE_SUFFIXES = ('_newImg8bit.png', '_leftImg8bit.png')
MASK_SUFFIXES = ('_final_mask.png', '_gtFine_color.png', '.png')  # of frames annotated for VPS, by Cityscapes, anything
IDS_PER_VIDEO = 10000  # image ids of a video are its number times STEP plus 1, 2, ...


def stem_of(name: str) -> str:
    """A file name without the ending of its kind."""
    return next(
        (name[: -len(end)] for end in (*IMAGE_FILE_SUFFIXES, *MASK_SUFFIXES) if name.endswith(end)), Path(name).stem
    )


def sequence_of(name: str) -> str:
    """``city_SSSSSS_NNNNNN`` of a file name or of an id ``VVVV_FFFF_city_SSSSSS_NNNNNN``."""
    return '_'.join(stem_of(name).split('_')[-3:])


def classes_of_file(content: Entry, name: str) -> ClassList:
    """The categories of a json; of one that has none or does not tell things from stuff, the known ones."""
    found = content.value.get('categories')
    if isinstance(found, list) and found and all(isinstance(c, dict) and 'isthing' in c for c in found):
        return categories_of(content)
    return known_classes(name)


def flat_records(
    content: Entry, classes: ClassList, group: Callable[[Entry], str], rename: Callable[[int, str], str]
) -> Iterator[dict]:
    """The records of flat ``images`` and ``annotations``.

    Args:
        content: the json.
        classes: its categories.
        group: image -> what tells its video from the one before and after.
        rename: (number of the video, its group) -> its name.
    """
    truth: dict[str, list[Entry]] = {}
    labelled = has_annotations(content)
    images = list(content.entries('images', 'frame', 'file_name'))
    for annotation in content.entries('annotations', 'annotation', 'image_id') if labelled else ():
        truth.setdefault(annotation.text('image_id'), []).append(annotation)
    strangers = sorted(truth.keys() - {image.text('id') for image in images})
    if strangers:
        raise DataError(
            f"{content.where}: there is an annotation of the image {strangers[0]}, which 'images' does not have"
        )
    groups = [(key, list(frames)) for key, frames in groupby(images, group)]
    names = check_unique((key for key, _ in groups), 'video (frames of another stand between its own)', content.where)
    for number, (key, (_, frames)) in enumerate(zip(names, groups)):
        name = rename(number, key)
        masks = {a.text('image_id'): a.text('file_name') for f in frames for a in truth.get(f.text('id'), ())}
        annotations = [a for f in frames for a in truth.get(f.text('id'), ())] if labelled else None
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
    """The records of ``panoptic_im_*``, ``panoptic_gt_*`` or ``im_all_info_*``; videos are numbered from 0 in their order."""
    content = parse_json(read_bytes(path), path)
    classes = classes_of_file(content, 'CityscapesVPS')
    images = content.items('images')
    if images and all(isinstance(image, dict) and isinstance(image.get('id'), str) for image in images):
        content.value['images'] = sorted(images, key=lambda image: image['id'])  # the annotated frames
        records = flat_records(
            content, classes, lambda image: image.text('id').split('_')[0], lambda number, key: str(number)
        )
    else:
        records = flat_records(
            content, classes, lambda image: str(image.integer('id') // IDS_PER_VIDEO), lambda number, key: str(number)
        )
    return dict(classes=class_rows(classes), labelled=has_annotations(content)), records


def read_viper_records(path: Path) -> Records:
    """The records of VIPSeg's layout, or of flat lists whose frames are named ``<video>_<frame>``."""
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
    """Cityscapes-VPS; a video is named by its number in the official order, from 0, as the metrics name it.

    * training: ``panoptic_im_train_city_vps.json`` with ``train/img`` and the 16-bit ``train/panoptic_inst``;
    * validation: ``panoptic_gt_val_city_vps.json`` with ``val/img`` and the RGB ``val/panoptic_video``, or all 30 frames of
      each video: ``im_all_info_val_city_vps.json`` with ``val/img_all``;
    * test: ``im_all_info_test_city_vps.json`` with ``test/img_all``.

    Args:
        annotated: with ``im_all_info_*``: the ``panoptic_im_*`` json of the split, which says what the annotated frames are
            called in a submission; other frames are predicted but not submitted.
        **kwargs: of :class:`ClipDataset`.
    """

    METAINFO = dict(dataset_type='CityscapesVPS', task='vps')
    CLASS_LIST = 'CityscapesVPS'
    reader = staticmethod(read_cityscapes_records)

    def __init__(self, annotated: str | None = None, **kwargs: object) -> None:
        self.annotated = annotated
        super().__init__(**kwargs)

    def read_index(self) -> AnnotationIndex:
        """The records; without segments in the json, 16-bit PNGs are the truth."""
        index = open_index(Path(self.ann_file), 'cityscapes', read_cityscapes_records, self.faults)
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
        """Place in the city -> name in a submission."""
        if self.annotated is None:
            return {}
        path = Path(self.data_root, self.annotated)
        content = parse_json(read_bytes(path), path)
        return {sequence_of(image.text('id')): image.text('id') for image in content.entries('images', 'frame', 'id')}

    def info_of(self, record: dict) -> dict:
        """Masks lie under the ending of whichever release it is; annotated frames have their names in a submission."""
        info = super().info_of(record)
        masks, frames = self.data_prefix.get('seg', ''), []
        for source, frame in zip(record['frames'], info['frames']):
            stem = stem_of(Path(source.get('mask') or source['image']).name)
            names = [Path(masks, stem + end) for end in MASK_SUFFIXES]
            mask = next((str(path) for path in names if os.path.isfile(path)), frame['mask'] or str(names[0]))
            place = sequence_of(source['image'])
            frames.append(dict(frame, mask=mask, name=f'{self.names.get(place, stem)}.png'))
        chosen = [not self.names or sequence_of(frame['image']) in self.names for frame in record['frames']]
        return dict(info, frames=frames, submit=chosen)


def check_annotated(names: dict[str, str], videos: list[list[str]], annotated: str, every: str) -> None:
    """Raises DataError unless every annotated frame is a frame of a video, and every video has one."""
    strange = sorted(names.keys() - {place for places in videos for place in places})
    if strange:
        raise DataError(
            f'{annotated} names the frame {names[strange[0]]}, which is not in {every}; are they of one split?'
        )
    for number, places in enumerate(videos):
        if not names.keys() & set(places):
            raise DataError(
                f'{annotated} names no frame of video {number} of {every}, so nothing of it could be submitted'
            )


@DATASETS.register_module()
class VIPERVPSDataset(PanopticVideoDataset):
    """VIPER for VPS: the authors' flat ``viper_panoptic_*_video.json`` with ``img`` and ``panoptic_video``, or VIPSeg's layout,
    as ``tools/dataset_converters/viper.py`` writes it.
    """

    METAINFO = dict(dataset_type='VIPER', task='vps')
    CLASS_LIST = 'VIPER'
    reader = staticmethod(read_viper_records)
