"""Cityscapes with panoptic annotations: images, each with its neighbours in the sequence that it was taken from."""

from collections.abc import Sequence
from pathlib import Path

from mmdvis.errors import DataError
from mmdvis.registry import DATASETS

from .annotation_index import Records
from .annotation_json import Entry
from .cityscapes_vps import sequence_of
from .panoptic_json import PanopticVideoDataset, panoptic_images

IMAGE_END = '_leftImg8bit.png'


def read_cityscapes_images(path: Path) -> Records:
    """Read the records of ``cityscapes_panoptic_*.json``; each image is a video of one frame."""
    return panoptic_images(path, image_path)


def image_path(image: Entry) -> str:
    """Relative path ``<city>/<city>_SSSSSS_NNNNNN_leftImg8bit.png`` of an image."""
    key = sequence_of(image.text('id'))
    return f'{key.split("_")[0]}/{key}{IMAGE_END}'


def neighbour_path(image: str, offset: int, where: str) -> str:
    """Relative path of a neighbour of an image.

    Args:
        image: Relative path of the image, as returned by :func:`image_path`.
        offset: Distance in frames.
        where: Location, for error messages.

    Raises:
        DataError: The name of the image does not end with its sequence and frame number.
    """
    city, sequence, number = (sequence_of(Path(image).name).split('_') + ['', ''])[:3]
    if not number.isdecimal():
        raise DataError(
            f'{where}: the image {image} is not named <city>_<sequence>_<frame number>, so it has no neighbours; use '
            'offsets=()'
        )
    return f'{city}/{city}_{sequence}_{int(number) + offset:06d}{IMAGE_END}'


@DATASETS.register_module()
class CityscapesPanopticDataset(PanopticVideoDataset):
    """Cityscapes images with the panoptic annotations that cityscapesScripts write, and frames around them.

    A video consists of an annotated image and its neighbours. In training, the annotated image is the key frame of a
    clip with ``order='key_first'``. At test time, only the frames before it are used, and only it is scored.

    * images: ``leftImg8bit/<split>`` (``data_prefix['img']``);
    * annotations: ``gtFine/cityscapes_panoptic_<split>.json``, with PNGs in the folder of the same name
      (``data_prefix['seg']``);
    * neighbours: ``leftImg8bit_sequence/<split>`` (``data_prefix['neighbours']``).

    Args:
        offsets: Positions of the neighbours in frames, relative to the image; () for none.
        **kwargs: Arguments of :class:`ClipDataset`.

    Raises:
        ValueError: An offset is 0, or there are neighbours, but ``data_prefix`` does not name their folder or the order
            of training clips is another one.
    """

    METAINFO = dict(dataset_type='Cityscapes', task='vps')
    CLASS_LIST = 'Cityscapes'
    reader = staticmethod(read_cityscapes_images)

    def __init__(self, offsets: Sequence[int] = (-1, 1), **kwargs: object) -> None:
        if 0 in offsets:
            raise ValueError(f'offsets are those of the neighbours, so they must not be 0, got {tuple(offsets)}')
        if offsets and not (kwargs.get('data_prefix') or {}).get('neighbours'):
            raise ValueError("neighbours need their folder; set data_prefix['neighbours'], or offsets=()")
        if offsets and not kwargs.get('test_mode') and (kwargs.get('clip') or {}).get('order') != 'key_first':
            raise ValueError("neighbours have no annotations; set clip=dict(order='key_first', ...), or offsets=()")
        self.offsets = tuple(sorted(offsets))
        super().__init__(**kwargs)

    def info_of(self, record: dict) -> dict:
        """Record with full paths, with the neighbours of the image."""
        info = super().info_of(record)
        (image,), where = info['frames'], f'{self.origin}: image {record["video_id"]}'
        offsets = tuple(offset for offset in self.offsets if offset < 0) if self.test_mode else self.offsets
        frames = [image]
        for offset in sorted(offsets, key=abs):
            path = Path(self.data_prefix['neighbours'], neighbour_path(record['frames'][0]['image'], offset, where))
            name = f'{Path(image["name"]).stem}{offset:+d}.png'
            neighbour = dict(name=name, image=str(path), mask=None, annotated=False, segments=[], crowds=[])
            frames = [neighbour, *frames] if offset < 0 else [*frames, neighbour]
        before = sum(offset < 0 for offset in offsets)
        return dict(info, frames=frames, key_frames=(before,), **({'warmup': before} if self.test_mode else {}))
