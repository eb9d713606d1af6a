"""What all video datasets share: a clip in training, a source of frames at test time."""

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

from .annotation_index import AnnotationIndex
from .classes import ClassList, build_class_list, check_against_known
from .transforms import (
    CropClip,
    FlipClip,
    JitterClip,
    LoadClip,
    OpenVideo,
    PackClip,
    ResizeClip,
    RotateClip,
    SampleClip,
)
from .transforms.loading import check_size

LOGGER = logging.getLogger('mmdvis')
ERROR_POLICIES = ('raise', 'skip', 'repeat')
MAX_NOTES = 3  # warnings about one file
MAX_SKIPPED = 100  # bad clips in a row, after which a training stops


class NoVideoError(DataError):
    """No video is left."""


def train_transforms(
    clip: dict,
    short_edges: list[int] | None = None,
    max_edge: int | None = None,
    crop: dict | None = None,
    crop_first: dict | None = None,
    jitter: dict | None = None,
    rotate: dict | None = None,
    flip: float = 0.5,
    ignore_void: bool = False,
    on_error: str = 'raise',
) -> list:
    """The transforms of a training clip, in the order of the official recipes.

    Args:
        clip: arguments of :class:`SampleClip`.
        short_edges, max_edge: of :class:`ResizeClip`; None keeps the size.
        crop: arguments of :class:`CropClip`, after the resize; None does not crop.
        crop_first: VIS: ``dict(short_edges, max_edge, between, prob)``: so often, resize and crop before anything else.
        jitter: arguments of :class:`JitterClip`, in place of resize and crop.
        rotate: arguments of :class:`RotateClip`.
        flip: probability of mirroring.
        ignore_void: of :class:`PackClip`.
        on_error: of :class:`LoadClip`.
    """
    steps: list = [SampleClip(**clip), LoadClip(on_error)]
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
    if crop is not None:
        steps.append(CropClip(**crop))
    if jitter is not None:
        steps.append(JitterClip(**jitter))
    return [*steps, FlipClip(flip), PackClip(ignore_void)]


class ClipDataset(BaseDataset):
    """Base of the datasets: a subclass reads its official files in ``read_index``.

    A record there is ``dict(video_id, size, categories, frames=[dict(name, image, mask, segments, crowds)], tracks)``; paths are
    relative to ``data_prefix``.

    Args:
        clip: arguments of :class:`SampleClip`, for training.
        augment: arguments of :func:`train_transforms` besides ``clip`` and ``on_error``.
        test: arguments of :class:`OpenVideo`.
        pipeline: transforms to use instead of those that the options above give.
        on_error: what becomes of files that cannot be used. ``'raise'``: training or test stops with a sentence. ``'skip'``: a
            training clip is replaced by one of another video; a test video is left out (all frames are read once, before).
            ``'repeat'``: the nearest good frame stands in. What happened is counted and reported at the end.
        class_list: name of a known class list that the file's own must equal; None: the file's, whatever it is; ``'auto'``:
            what the class says.
        filter_empty: leave out training videos without objects.
        **kwargs: as in mmengine's BaseDataset.

    Raises:
        DataError: the files are not as they should be; names file, video and frame.
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
        self.faults: list[DataError] | None = None  # a list takes up faults of the json instead of raising them
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
        """The records of the official files."""
        raise NotImplementedError

    def full_init(self) -> None:
        """Reads the files."""
        if self._fully_initialized:
            return
        self.index = self.read_index()
        for note in self.index.meta['notes'][:MAX_NOTES]:
            warnings.warn(note, stacklevel=2)
        if len(self.index.meta['notes']) > MAX_NOTES:
            warnings.warn(
                f'{self.origin}: {len(self.index.meta["notes"]) - MAX_NOTES} more such places; '
                'tools/misc/check_dataset.py tells all',
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
                '%s: %d of %d videos have no object and are left out',
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
            empty = ['with filter_empty=True, only videos with objects count'] if self.filter_empty else []
            raise NoVideoError(
                '; '.join(
                    [
                        f'{self.origin} has no video that can be used, so there is nothing to do',
                        *[*self.left_out.values(), *empty][:1],
                    ]
                )
            )

    def classes_of_index(self) -> ClassList:
        """The classes of the file, checked against the known list."""
        rows = self.index.meta['classes']
        found = build_class_list([tuple(row) for row in rows])
        if self.class_list is not None:
            check_against_known(found, self.class_list, self.origin)
        return found

    @property
    def origin(self) -> Path:
        """The official file, for messages."""
        return Path(self.ann_file or self.data_root)

    @property
    def label_map(self) -> dict[int, int]:
        """Category id of the file -> label."""
        return self.classes.labels

    def leave_out_bad(self) -> None:
        """Reads every frame of every video; those with one that cannot be used are left out of a test."""
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
        """The record of a video with whole paths, and what its transforms need."""
        self.full_init()
        return dict(self.info_of(self.index[int(self.kept[idx])]), sample_idx=idx % len(self.kept))

    def info_of(self, record: dict) -> dict:
        """What a record says, with whole paths."""
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
                    raise DataError(f'{MAX_SKIPPED} clips in a row cannot be used; the last: {error}') from None
                idx = int(np.random.randint(len(self)))
        if problems:
            found = sample['data_samples'].get('problems', ())
            sample['data_samples'].set_metainfo(dict(problems=(*problems, *found)))
        return sample

    def get_subset_(self, indices: int | Sequence[int]) -> None:
        """Keeps the first so many videos, or those at ``indices``."""
        self.full_init()
        self.kept = select_indices(self.kept, indices)

    def get_subset(self, indices: int | Sequence[int]) -> 'ClipDataset':
        """A dataset of the first so many videos, or of those at ``indices``; this one stays whole."""
        other = copy.copy(self)
        other.get_subset_(indices)
        return other

    def video_sizes(self) -> np.ndarray:
        """Height and width (N, 2) of each video; where the official file does not say, from the header of the first frame.

        With another policy than ``'raise'``, of the first frame that can be read; (0, 0) where there is none.
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
    """The first so many, or those at ``indices``; raises IndexError where there are not so many."""
    wrong = [] if isinstance(indices, int) else [k for k in indices if not -len(kept) <= k < len(kept)]
    if wrong:
        raise IndexError(f'indices must lie below {len(kept)}, the number of videos, got {wrong[0]}')
    return kept[:indices] if isinstance(indices, int) else kept[list(indices)]


def read_all_frames(info: dict) -> int:
    """Decodes every frame of a video; returns their number, and raises DataError where one cannot be used."""
    if info.get('path'):
        source = open_frames(info['path'])
        for start in range(len(source)):
            source.read(start, start + 1)
        return len(source)
    size = None
    for frame in info['frames']:
        found = read_image(frame['image']).shape[:2]
        check_size(info, frame, found, size)
        size = size or found
    return len(info['frames'])


def check_order(names: Sequence[str], where: str) -> None:
    """Raises DataError where a video has no frame, one twice, or frames that are not in the order of time."""
    if not names:
        raise DataError(f'{where} has no frames; remove it from the list or fetch its frames')
    keys = [natural_key(name) for name in names]
    for before, after, name, last in zip(keys, keys[1:], names[1:], names):
        if after == before:
            raise DataError(f'{where}: the frame {name} is there twice')
        if after < before:
            raise DataError(f'{where}: the frame {name} comes after {last}; frames must be in the order of time')


def check_unique(names: Iterator[str], what: str, where: str | Path) -> Iterator[str]:
    """The names; raises DataError at one that came before."""
    seen = set()
    for name in names:
        if name in seen:
            raise DataError(f'{where}: the {what} {name} is there more than once')
        seen.add(name)
        yield name
