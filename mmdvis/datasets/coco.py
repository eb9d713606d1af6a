"""COCO images as videos of one frame, for joint training with video datasets and for segmenter pre-training."""

from pathlib import Path

from mmdvis.io.rle import check_segmentation
from mmdvis.registry import DATASETS

from .annotation_index import Records
from .annotation_json import Entry
from .classes import ClassList, check_against_known, known_classes
from .panoptic_json import PanopticVideoDataset, panoptic_images
from .youtube_vis import TrackDataset, read_grouped_records

# COCO category id -> category id of the video dataset (mapping of DVIS's coco2*_train.json files)
CLASS_MAPS: dict[str, dict[int, int]] = {
    'OVIS': {
        1: 1,
        2: 21,
        3: 25,
        4: 22,
        5: 23,
        6: 25,
        8: 25,
        9: 24,
        17: 3,
        18: 4,
        19: 5,
        20: 6,
        21: 7,
        22: 8,
        23: 9,
        24: 10,
        25: 11,
    },
    'YouTubeVIS2019': {
        1: 1,
        2: 21,
        3: 6,
        4: 21,
        5: 28,
        7: 17,
        8: 29,
        9: 34,
        17: 14,
        18: 8,
        19: 18,
        21: 15,
        22: 32,
        23: 20,
        24: 30,
        25: 22,
        35: 33,
        36: 33,
        41: 5,
        42: 27,
        43: 40,
    },
    'YouTubeVIS2021': {
        1: 26,
        2: 23,
        3: 5,
        4: 23,
        5: 1,
        7: 36,
        8: 37,
        9: 4,
        16: 3,
        17: 6,
        18: 9,
        19: 19,
        21: 7,
        22: 12,
        23: 2,
        24: 40,
        25: 18,
        34: 14,
        35: 31,
        36: 31,
        41: 29,
        42: 33,
        43: 34,
    },
}
CLASS_MAPS['YouTubeVIS2022'] = CLASS_MAPS['YouTubeVIS2021']


def read_instances(path: Path) -> Records:
    """Read the records of ``instances_*.json``; each image is a video of one frame."""
    return read_grouped_records(path, ('images', 'image', 'image_id'), 'annotation', image_record)


def image_record(number: int, image: Entry, found: list[Entry]) -> dict:
    """Build the record of an image, without crowds.

    Args:
        number: Image id.
        image: Image entry.
        found: Annotation entries of the image.
    """
    size, name, tracks = image.size(), image.text('file_name'), []
    for entry in found:
        if entry.flag('iscrowd'):
            continue
        mask = entry.part('segmentation')
        check_segmentation(mask, size, f'{entry.where} of image {name}')
        tracks.append(
            dict(
                id=len(tracks) + 1, annotation=entry.integer('id'), category=entry.integer('category_id'), masks=[mask]
            )
        )
    return dict(
        video_id=number,
        size=size,
        categories=[track['category'] for track in tracks],
        tracks=tracks,
        frames=[dict(name=name, image=name)],
    )


def read_panoptic_images(path: Path) -> Records:
    """Read the records of ``panoptic_*.json``; each image is a video of one frame."""
    return panoptic_images(path, lambda image: image.text('file_name'))


@DATASETS.register_module()
class CocoInstanceClipDataset(TrackDataset):
    """COCO instance segmentation (``instances_*.json``) as clips.

    In training, a clip is one image repeated ``num_frames`` times, with motion simulated by the augmentation.

    Args:
        target: Video dataset whose classes the COCO classes are mapped to: ``'OVIS'``, ``'YouTubeVIS2019'``,
            ``'YouTubeVIS2021'`` or ``'YouTubeVIS2022'``. Objects of other classes are left out. None keeps the COCO
            classes.
        **kwargs: Arguments of :class:`ClipDataset`; ``filter_empty=True`` leaves out images without objects of the
            mapped classes.
    """

    METAINFO = dict(dataset_type='COCO', task='vis')
    CLASS_LIST = 'COCO'
    reader = staticmethod(read_instances)

    def __init__(self, target: str | None = None, **kwargs: object) -> None:
        if target is not None and target not in CLASS_MAPS:
            raise ValueError(f'target must be {", ".join(CLASS_MAPS)} or None, got {target!r}')
        self.target = target
        super().__init__(**kwargs)

    def classes_of_index(self) -> ClassList:
        """Classes of the target dataset, or of COCO."""
        file_classes = super().classes_of_index()
        if self.target is None:
            return file_classes
        # whatever class_list is, so that a file which is mapped already is not mapped again
        check_against_known(file_classes, 'COCO', self.origin)
        return known_classes(self.target)

    @property
    def label_map(self) -> dict[int, int]:
        """COCO category id -> label."""
        if self.target is None:
            return self.classes.labels
        return {number: self.classes.labels[target_id] for number, target_id in CLASS_MAPS[self.target].items()}


@DATASETS.register_module()
class CocoPanopticClipDataset(PanopticVideoDataset):
    """COCO panoptic segmentation (``panoptic_*.json`` with its PNGs) as clips.

    In training, a clip is one image repeated ``num_frames`` times, with motion simulated by the augmentation.
    """

    METAINFO = dict(dataset_type='COCO', task='vps')
    CLASS_LIST = 'COCOPanoptic'
    reader = staticmethod(read_panoptic_images)
