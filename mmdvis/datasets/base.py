"""Base class of the video datasets, which returns clips in training and frame sources at test time."""

import copy
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import RandomApply
from mmengine.dataset import BaseDataset
from tqdm import tqdm

from mmdvis.errors import DataError
from mmdvis.io import image_size, natural_key, open_frames, read_image
from mmdvis.io.frame_sources import size_or_none

from .annotation_index import AnnotationIndex, Records, open_index
from .classes import ClassList, build_class_list, check_against_known
from .drawn_index import seeded_draws
from .transforms import (
    CropClip,
    FlipClip,
    JitterClip,
    LoadClip,
    LoadFlow,
    OpenVideo,
    PackClip,
    ResizeClip,
    RotateClip,
    SampleClip,
    ScaleClip,
)
from .transforms.loading import check_size

LOGGER = logging.getLogger('mmdvis')
ERROR_POLICIES = ('raise', 'skip', 'repeat')
MAX_NOTES = 3  # warnings per annotation file
MAX_SKIPPED = 100  # training stops after this number of consecutive unusable clips


class NoVideoError(DataError):
    """The dataset has no usable video."""


def train_transforms(
    clip: dict,
    short_edges: list[int] | None = None,
    max_edge: int | None = None,
    scale: dict | None = None,
    crop: dict | None = None,
    crop_first: dict | None = None,
    jitter: dict | None = None,
    rotate: dict | None = None,
    flip: float = 0.5,
    flow: str | None = None,
    ignore_void: bool = False,
    on_error: str = 'raise',
) -> list:
    """Build the transforms of a training clip, in the order of the official recipes.

    Args:
        clip: Arguments of :class:`SampleClip`.
        short_edges: Short edges of :class:`ResizeClip`, in pixels. None disables resizing.
        max_edge: Maximum long edge of :class:`ResizeClip`, in pixels. None disables the limit.
        scale: Arguments of :class:`ScaleClip`, used instead of resizing by the short edge. None disables it.
        crop: Arguments of :class:`CropClip`, applied after resizing. None disables cropping.
        crop_first: ``dict(short_edges, max_edge, between, prob)`` of an additional resize and crop, applied with
            probability ``prob`` (default 0.5) before all other transforms. Used in the VIS recipes.
        jitter: Arguments of :class:`JitterClip`, used instead of resizing and cropping.
        rotate: Arguments of :class:`RotateClip`. None disables rotation.
        flip: Probability of a horizontal flip.
        flow: Folder of :class:`LoadFlow`. None loads no optical flow.
        ignore_void: See :class:`PackClip`.
        on_error: See :class:`LoadClip`.
    """
    steps: list = [SampleClip(**clip), LoadClip(on_error), *([LoadFlow(flow)] if flow else [])]
    if crop_first is not None:
        steps.append(
            RandomApply(
                [
                    ResizeClip(crop_first['short_edges'], crop_first.get('max_edge')),
                    CropClip(between=crop_first['between']),
                ],
                prob=crop_first.get('prob', 0.5),
            )
        )
    if rotate is not None:
        steps.append(RotateClip(**rotate))
    if short_edges is not None:
        steps.append(ResizeClip(short_edges, max_edge))
    if scale is not None:
        steps.append(ScaleClip(**scale))
    if crop is not None:
        steps.append(CropClip(**crop))
    if jitter is not None:
        steps.append(JitterClip(**jitter))
    return [*steps, FlipClip(flip), PackClip(ignore_void)]


class ClipDataset(BaseDataset):
    """Base class of the video datasets.

    A subclass reads its annotation files in :meth:`read_index`, which returns one record per video:
    ``dict(video_id, size, categories, frames=[dict(name, image, mask, segments, crowds)], tracks)``.
    Paths are relative to ``data_prefix``.

    Args:
        clip: Arguments of :class:`SampleClip`, for training.
        augment: Arguments of :func:`train_transforms` except ``clip`` and ``on_error``, for training.
        test: Arguments of :class:`OpenVideo`, for testing.
        pipeline: Transforms that replace those defined by ``clip``, ``augment`` and ``test``.
        test_mode: Return frame sources of whole videos instead of training clips.
        on_error: Handling of unusable files. ``'raise'`` stops with an error. ``'skip'`` replaces a training clip by a
            clip of a random video, and leaves out a test video (all frames are read once before the test).
            ``'repeat'`` replaces a frame by the nearest usable frame. The affected files are counted and reported at
            the end.
        class_list: Name of the known class list that the classes of the file must match. None accepts any classes;
            ``'auto'`` uses the class list of the benchmark.
        filter_empty: Leave out training videos without objects.
        **kwargs: Further arguments of mmengine's ``BaseDataset``.

    Raises:
        DataError: A file is missing or malformed. The message contains file, video and frame.
    """

    METAINFO: dict[str, Any] = dict()
    CLASS_LIST: str | None = None
    TRUTH = 'panoptic'

    def __init__(
        self,
        clip: dict | None = None,
        augment: dict | None = None,
        test: dict | None = None,
        pipeline: list | None = None,
        test_mode: bool = False,
        on_error: str = 'raise',
        class_list: str | None = 'auto',
        filter_empty: bool = False,
        **kwargs: object,
    ) -> None:
        if on_error not in ERROR_POLICIES:
            raise ValueError(f'on_error must be {" or ".join(map(repr, ERROR_POLICIES))}, got {on_error!r}')
        self.on_error, self.filter_empty = on_error, filter_empty
        self.left_out: dict[str, str] = {}
        self.faults: list[DataError] | None = None  # if a list, errors in the JSON file are collected, not raised
        self.class_list = self.CLASS_LIST if class_list == 'auto' else class_list
        policy = 'repeat' if on_error == 'repeat' else 'raise'
        if pipeline is None:
            pipeline = (
                [OpenVideo(**dict(test or {}, on_error=policy))]
                if test_mode
                else train_transforms(clip or dict(num_frames=1), **dict(augment or {}, on_error=policy))
            )
        super().__init__(pipeline=pipeline, test_mode=test_mode, **kwargs)

    def read_index(self) -> AnnotationIndex:
        """Read the records of all videos from the annotation files."""
        raise NotImplementedError

    @staticmethod
    def reader(path: Path) -> Records:
        """Read an annotation file; for :meth:`open_records`."""
        raise NotImplementedError

    def open_records(self) -> AnnotationIndex:
        """Read the records of ``ann_file`` with the ``reader`` of the class, or the cached index of the file."""
        return open_index(Path(self.ann_file), self.reader.__name__, self.reader, self.faults)

    def full_init(self) -> None:
        """Read the annotation files and select the videos."""
        if self._fully_initialized:
            return
        self.index = self.read_index()
        for note in self.index.meta['notes'][:MAX_NOTES]:
            warnings.warn(note, stacklevel=2)
        if len(self.index.meta['notes']) > MAX_NOTES:
            warnings.warn(
                f'{self.origin}: {len(self.index.meta["notes"]) - MAX_NOTES} more warnings of this kind; '
                'run tools/misc/check_dataset.py to list all',
                stacklevel=2,
            )
        self.classes = self.classes_of_index()
        self._metainfo.update(self.classes.metainfo())
        self.kept = np.arange(len(self.index))
        if self.filter_empty and not self.test_mode:
            self.kept = np.array(
                [k for k in self.kept if self.label_map.keys() & set(self.index.categories(k))], np.int64
            )
            LOGGER.info(
                '%s: %d of %d videos have no objects and are left out',
                self.ann_file,
                len(self.index) - len(self.kept),
                len(self.index),
            )
        if self._indices is not None:
            self.kept = select_indices(self.kept, self._indices)
        self._fully_initialized = True
        if self.test_mode and self.on_error == 'skip':
            self.leave_out_bad()
        if not len(self.kept):
            empty = ['with filter_empty=True, only videos with objects are used'] if self.filter_empty else []
            raise NoVideoError(
                '; '.join([f'{self.origin} has no video that can be used', *[*self.left_out.values(), *empty][:1]])
            )

    def classes_of_index(self) -> ClassList:
        """Classes of the annotation file, checked against the known class list."""
        rows = self.index.meta['classes']
        file_classes = build_class_list([tuple(row) for row in rows])
        if self.class_list is not None:
            check_against_known(file_classes, self.class_list, self.origin)
        return file_classes

    @property
    def origin(self) -> Path:
        """Path of the annotation file, or of the data root, for error messages."""
        return Path(self.ann_file or self.data_root)

    @property
    def label_map(self) -> dict[int, int]:
        """Category id in the annotation file -> label."""
        return self.classes.labels

    def leave_out_bad(self) -> None:
        """Read every frame of every video and leave out videos with an unusable frame."""
        for number in tqdm(self.kept.tolist(), desc=f'reading {self.origin.name}', unit='video', disable=None):
            record = self.index[number]
            try:
                read_all_frames(self.info_of(record))
            except DataError as error:
                self.left_out[str(record['video_id'])] = f'video {record["video_id"]} was left out: {error}'
                self.kept = self.kept[self.kept != number]
        self._metainfo['left_out'] = tuple(self.left_out)
        for reason in self.left_out.values():
            LOGGER.warning(reason)

    def __len__(self) -> int:
        self.full_init()
        return len(self.kept)

    def get_data_info(self, idx: int) -> dict:
        """Record of a video with full paths, and the fields that the transforms require."""
        self.full_init()
        return dict(self.info_of(self.index[int(self.kept[idx])]), sample_idx=idx % len(self.kept))

    def info_of(self, record: dict) -> dict:
        """Record with full paths, and the fields of the dataset that the transforms require."""
        image, mask = (self.data_prefix.get(key) or self.data_root or '.' for key in ('img', 'seg'))
        frames = [
            dict(
                frame,
                image=os.path.join(image, frame['image']),
                mask=os.path.join(mask, frame['mask']) if frame.get('mask') else None,
            )
            for frame in record['frames']
        ]
        return dict(
            record,
            frames=frames,
            truth=self.TRUTH,
            labels=self.label_map,
            num_things=self.classes.num_things,
            origin=str(self.origin),
        )

    def __getitem__(self, idx: int) -> dict:
        with seeded_draws(idx):
            return self.usable_sample(idx)

    def usable_sample(self, idx: int) -> dict:
        """Sample ``idx``, or, if it cannot be used and ``on_error`` is ``'skip'``, a random other one."""
        problems: list[str] = []
        while True:
            try:
                sample = self.prepare_data(idx)
                break
            except DataError as error:
                if self.on_error != 'skip' or self.test_mode:
                    raise
                problems.append(str(error))
                if len(problems) == MAX_SKIPPED:
                    raise DataError(
                        f'{MAX_SKIPPED} consecutive clips cannot be used; the last error: {error}'
                    ) from None
                idx = int(np.random.randint(len(self)))
        if problems:
            sample_problems = sample['data_samples'].get('problems', ())
            sample['data_samples'].set_metainfo(dict(problems=(*problems, *sample_problems)))
        return sample

    def get_subset_(self, indices: int | Sequence[int]) -> None:
        """Keep the first ``indices`` videos if it is an integer, else the videos at ``indices``."""
        self.full_init()
        self.kept = select_indices(self.kept, indices)

    def get_subset(self, indices: int | Sequence[int]) -> 'ClipDataset':
        """Copy of the dataset with the first ``indices`` videos if it is an integer, else the videos at ``indices``."""
        other = copy.copy(self)
        other.get_subset_(indices)
        return other

    def video_sizes(self) -> np.ndarray:
        """Height and width (N, 2) of each video, in pixels.

        Sizes that are not stated in the annotation file are read from the image header of the first frame. If
        ``on_error`` is not ``'raise'``, the first readable frame is used, and the size is (0, 0) if there is none.
        """
        self.full_init()
        sizes = self.index.sizes[self.kept]
        for k in np.flatnonzero(sizes[:, 0] == 0):
            frames = self.get_data_info(int(k))['frames']
            if self.on_error == 'raise':
                sizes[k] = image_size(frames[0]['image'])
            else:
                sizes[k] = next((size for size in (size_or_none(frame['image']) for frame in frames) if size), (0, 0))
        return sizes


def select_indices(kept: np.ndarray, indices: int | Sequence[int]) -> np.ndarray:
    """Select the first ``indices`` entries if it is an integer, else the entries at ``indices``.

    Raises:
        IndexError: An index is out of range.
    """
    invalid = [] if isinstance(indices, int) else [k for k in indices if not -len(kept) <= k < len(kept)]
    if invalid:
        raise IndexError(f'indices must lie below {len(kept)}, the number of videos, got {invalid[0]}')
    return kept[:indices] if isinstance(indices, int) else kept[list(indices)]


def read_all_frames(info: dict) -> int:
    """Decode every frame of a video and return the number of frames.

    Raises:
        DataError: A frame is missing, unreadable or of a different size.
    """
    if info.get('path'):
        source = open_frames(info['path'])
        for start in range(len(source)):
            source.read(start, start + 1)
        return len(source)
    size = None
    for frame in info['frames']:
        frame_size = read_image(frame['image']).shape[:2]
        check_size(info, frame, frame_size, size)
        size = size or frame_size
    return len(info['frames'])


def check_order(names: Sequence[str], where: str) -> None:
    """Check that the frames of a video are unique and in temporal order.

    Args:
        names: File names of the frames.
        where: Location, for error messages.

    Raises:
        DataError: There are no frames, a frame occurs twice, or the order is wrong.
    """
    if not names:
        raise DataError(f'{where} has no frames; remove it from the list or download its frames')
    keys = [natural_key(name) for name in names]
    for before, after, name, last in zip(keys, keys[1:], names[1:], names):
        if after == before:
            raise DataError(f'{where}: the frame {name} occurs twice')
        if after < before:
            raise DataError(f'{where}: the frame {name} comes after {last}; frames must be in temporal order')


def check_unique(names: Iterator[str], what: str, where: str | Path) -> Iterator[str]:
    """Yield the names and check that they are unique.

    Args:
        names: Names or ids.
        what: Kind of the names, for error messages.
        where: Location, for error messages.

    Raises:
        DataError: A name occurs more than once.
    """
    previous_names = set()
    for name in names:
        if name in previous_names:
            raise DataError(f'{where}: the {what} {name} occurs more than once')
        previous_names.add(name)
        yield name
