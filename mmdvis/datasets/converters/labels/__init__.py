"""Videos of labelling tools: readers of their formats, and writers of the layouts of VIPSeg, YouTube-VIS and VSPW."""

from collections.abc import Callable, Sequence
from pathlib import Path

from .coco import read_coco, read_coco_video
from .cvat import read_cvat
from .datumaro import read_datumaro
from .label_studio import read_label_studio
from .labelme import read_labelme
from .mask_images import read_masks
from .mots import read_mots
from .videos import LabelledObject, LabelledVideo
from .writers import WRITERS, classes_of_file, classes_of_labels, write_videos

Reader = Callable[[Path], Sequence[LabelledVideo]]
READERS: dict[str, Reader] = {
    'labelme': read_labelme,
    'cvat': read_cvat,
    'label-studio': read_label_studio,
    'coco': read_coco,
    'coco-video': read_coco_video,
    'datumaro': read_datumaro,
    'mots': read_mots,
    'masks': read_masks,
}

__all__ = [
    'READERS',
    'WRITERS',
    'LabelledObject',
    'LabelledVideo',
    'classes_of_file',
    'classes_of_labels',
    'write_videos',
]
