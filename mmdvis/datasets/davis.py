"""DAVIS 2016 and 2017 (video object segmentation), and CamVid (semantic segmentation of driving scenes)."""

from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from mmdvis.checks import check_choice, path_inside
from mmdvis.errors import DataError
from mmdvis.io import IMAGE_SUFFIXES
from mmdvis.registry import DATASETS

from .annotation_index import AnnotationIndex, record_or_error
from .annotation_json import list_folder, read_bytes
from .base import ClipDataset, check_order, check_unique
from .classes import class_rows, known_classes
from .vspw import read_list


@DATASETS.register_module()
class DAVISDataset(ClipDataset):
    """DAVIS 2016 and 2017: videos with a PNG of object masks for every frame. All objects are of one class.

    * ``ann_file``: list of sequences, such as ``ImageSets/2017/train.txt``, with one name per line; lines of
      DAVIS 2016 with the paths of a frame and its mask are read, too;
    * ``data_prefix['img']``: ``JPEGImages/480p``, with a folder of frames for each sequence;
    * ``data_prefix['seg']``: ``Annotations/480p``, with a folder of masks for each sequence. Absent masks are allowed
      at test time.

    Args:
        objects: ``'one'`` treats everything that is not background as one object (DAVIS 2016); with ``'all'``, each
            value of a mask is an object of its own, and 255 is void (DAVIS 2017).
        **kwargs: Arguments of :class:`ClipDataset`.

    Raises:
        DataError: A listed sequence or a mask is missing.
    """

    METAINFO = dict(dataset_type='DAVIS', task='vis')
    TRUTH = 'object_image'

    def __init__(self, objects: str = 'one', **kwargs: object) -> None:
        check_choice('objects', objects, ('one', 'all'))
        self.objects = objects
        super().__init__(**kwargs)

    def read_index(self) -> AnnotationIndex:
        """Build one record per listed sequence."""
        rows = class_rows(known_classes('DAVIS'))
        return AnnotationIndex.build(dict(classes=rows), self.records(), self.faults)

    def records(self) -> Iterator[dict]:
        """Yield the record of each listed sequence."""
        for name in read_sequences(Path(self.ann_file)):
            yield record_or_error(self.record, name)

    def record(self, name: str) -> dict:
        """Build the record of a sequence.

        Raises:
            DataError: There are no frames, or, in training, a frame has no mask.
        """
        folder = path_inside(Path(self.data_prefix['img']), name, links=True)
        images = list_folder(folder, IMAGE_SUFFIXES)
        check_order(images, f'video {name}: {folder}')
        masks = path_inside(Path(self.data_prefix.get('seg') or '.'), name, links=True)
        present = {Path(mask).stem for mask in list_folder(masks, ('.png',))} if masks.is_dir() else set()
        missing = [image for image in images if Path(image).stem not in present]
        if missing and not self.test_mode:
            raise DataError(
                f'video {name}, frame {missing[0]}: there is no mask {masks / Path(missing[0]).stem}.png; '
                f'{len(missing)} of {len(images)} frames have no mask'
            )
        frames = [
            dict(name=f'{Path(image).stem}.png', image=f'{name}/{image}', mask=f'{name}/{Path(image).stem}.png')
            for image in images
        ]
        return dict(video_id=name, size=None, categories=[1], frames=frames)

    def info_of(self, record: dict) -> dict:
        """Record with full paths, and whether objects are merged."""
        return dict(super().info_of(record), merged=self.objects == 'one')


def read_sequences(path: Path) -> list[str]:
    """Names of the sequences in a list of DAVIS 2017 (one name per line) or 2016 (paths of a frame and its mask).

    Raises:
        DataError: The file is missing, empty or not a text file, or a sequence occurs more than once.
    """
    lines = read_list(path)
    if not any('/' in line for line in lines):
        return lines
    names = [Path(line.split()[0]).parent.name for line in lines]
    return list(check_unique((name for name, _ in groupby(names)), 'sequence (its frames must be contiguous)', path))


@DATASETS.register_module()
class CamVidDataset(ClipDataset):
    """CamVid in the version of SegNet: 11 classes, 11 is void.

    ``ann_file`` lists the path of an image and of its label map per line. The last two parts of a path, such as
    ``train/0001TP_006690.png``, are looked up in ``data_root``, as the official lists name folders of their authors.
    Consecutive lines of one sequence with a constant distance are a video. Images are named
    ``<sequence>_<frame number>``, such as ``0001TP_006690`` or ``Seq05VD_f00030``.

    Args:
        **kwargs: Arguments of :class:`ClipDataset`.

    Raises:
        DataError: The list is malformed.
    """

    METAINFO = dict(dataset_type='CamVid', task='vss')
    TRUTH = 'semantic'
    VOID = 11

    def read_index(self) -> AnnotationIndex:
        """Build one record per run of frames with a constant distance."""
        rows = class_rows(known_classes('CamVid'))
        return AnnotationIndex.build(dict(classes=rows), self.records(), self.faults)

    def records(self) -> Iterator[dict]:
        """Yield the record of each video."""
        path, counts = Path(self.ann_file), Counter()
        pairs = []
        for number, line in enumerate(read_bytes(path).decode('utf-8-sig', 'replace').splitlines(), 1):
            if line.strip():
                words = line.split()
                if len(words) != 2:
                    raise DataError(f'{path}, line {number}: expected an image and its label map, got {line.strip()!r}')
                pairs.append(tuple('/'.join(Path(word).parts[-2:]) for word in words))
        for name in (name for pair in pairs for name in pair):
            path_inside(Path(self.data_root), name, links=True)
        if not pairs:
            raise DataError(f'{path} lists no image; each line must have an image and its label map')
        for sequence, run in runs_of_frames([image for image, _ in pairs], path):
            counts[sequence] += 1
            frames = [
                dict(name=f'{Path(image).stem}.png', image=image, mask=mask) for image, mask in (pairs[k] for k in run)
            ]
            name = sequence if counts[sequence] == 1 else f'{sequence}-{counts[sequence]}'
            yield dict(video_id=name, size=None, categories=list(range(self.VOID)), frames=frames)

    def info_of(self, record: dict) -> dict:
        """Record with full paths, and the coding of the label maps."""
        return dict(super().info_of(record), first_value=0, void=(self.VOID,))


def runs_of_frames(images: list[str], path: Path) -> Iterator[tuple[str, list[int]]]:
    """Yield sequence and indices of each run of images of one sequence with a constant distance of their numbers.

    Args:
        images: Paths of images named ``<sequence>_<frame number>``.
        path: File that lists them, for error messages.

    Raises:
        DataError: A name has another form.
    """
    run: list[int] = []
    keys = []
    for image in images:
        sequence, _, number = Path(image).stem.rpartition('_')
        number = number.removeprefix('f')
        if not sequence or not number.isdecimal():
            raise DataError(f'{path}: the image {image} is not named <sequence>_<frame number>')
        keys.append((sequence, int(number)))
    for k, (sequence, number) in enumerate(keys):
        is_next = bool(run) and keys[run[-1]][0] == sequence and number > keys[run[-1]][1]
        steps = (keys[run[1]][1] - keys[run[0]][1], number - keys[run[-1]][1]) if is_next and len(run) > 1 else (0, 0)
        if run and not (is_next and steps[0] == steps[1]):
            yield keys[run[0]][0], run
            run = []
        run.append(k)
    yield keys[run[0]][0], run
