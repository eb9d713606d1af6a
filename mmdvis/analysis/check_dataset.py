"""Reads all files of a dataset and reports every problem instead of stopping at the first one."""

import os
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from prettytable import PrettyTable

from mmdvis.datasets.base import ClipDataset, NoVideoError, read_all_frames
from mmdvis.datasets.concat import with_shared_options
from mmdvis.datasets.transforms.ground_truth import (
    ANNOTATION_READERS,
    frame_location,
    layers_of,
    read_class_map,
    with_frame_location,
)
from mmdvis.datasets.transforms.loading import check_size
from mmdvis.errors import DataError, UnreadableImageError
from mmdvis.io import read_image
from mmdvis.registry import DATASETS

SHARED: list[ClipDataset] = []  # dataset of a worker process
PROBLEM_KINDS = ('annotation', 'missing', 'unreadable', 'size', 'truth', 'duplicate')


@dataclass(frozen=True)
class Problem:
    """Problem of a dataset.

    Attributes:
        kind: One of ``PROBLEM_KINDS``.
        video: Name of the video; may be empty.
        frame: Name of the frame; may be empty.
        text: Description in one sentence.
    """

    kind: str
    video: str
    frame: str
    text: str


@dataclass(frozen=True)
class VideoReport:
    """Content and problems of one video.

    Attributes:
        frames: Number of frames.
        empty: Number of labelled frames without an object.
        frames_with: Class label -> number of frames in which it is visible.
        objects: Class label -> number of objects.
        problems: Problems of the video.
    """

    frames: int
    empty: int
    frames_with: dict[int, int]
    objects: dict[int, int]
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class DatasetReport:
    """Content and problems of a dataset.

    Attributes:
        name: Name of the dataset.
        origin: Official annotation file.
        videos: Number of videos.
        frames: Number of frames.
        empty_videos: Names of the labelled videos without an object.
        empty_frames: Number of labelled frames without an object.
        classes: Class name -> number of videos, frames and objects.
        problems: Problems of the dataset.
    """

    name: str
    origin: str
    videos: int = 0
    frames: int = 0
    empty_videos: tuple[str, ...] = ()
    empty_frames: int = 0
    classes: dict[str, dict[str, int]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def summary(self) -> dict[str, Any]:
        """Report as a JSON-serialisable dict."""
        return dict(
            name=self.name,
            origin=self.origin,
            videos=self.videos,
            frames=self.frames,
            empty_videos=list(self.empty_videos),
            empty_frames=self.empty_frames,
            classes=self.classes,
            problems=[vars(problem) for problem in self.problems],
        )


def problem_kind(path: str) -> str:
    """Kind of problem of a file that cannot be read: missing or unreadable."""
    return 'unreadable' if os.path.exists(path) else 'missing'


def check_frame(
    info: dict, index: int, reader: object | None, size: tuple[int, int] | None
) -> tuple[tuple[int, int] | None, np.ndarray, list[Problem]]:
    """Checks one frame.

    Args:
        info: Information of the video.
        index: Index of the frame.
        reader: Reader of the ground truth; None if there is none.
        size: (height, width) of the previous frames; None if unknown.

    Returns:
        (height, width) of the frame or None, indices of the visible objects, and problems.
    """
    frame, frame_size, visible = info['frames'][index], None, np.zeros(0, int)
    problems: list[Problem] = []

    def note(kind: str, error: DataError) -> None:
        problems.append(
            Problem(kind, str(info['video_id']), frame['name'], str(with_frame_location(info, frame, error)))
        )

    try:
        frame_size = read_image(frame['image']).shape[:2]
    except DataError as error:
        note(problem_kind(frame['image']), error)
    if frame_size:
        try:
            check_size(info, frame, frame_size, size)
        except DataError as error:
            note('size', error)
    if frame.get('semantic'):
        try:
            read_class_map(info, frame)
        except DataError as error:
            note(problem_kind(frame['semantic']) if isinstance(error, UnreadableImageError) else 'truth', error)
    if reader is not None:
        try:
            layers = layers_of(reader, frame, index, frame_size or (1, 1))
            visible = np.unique(np.concatenate([np.unique(layer) for layer in layers]))
            if frame_size and layers[0].shape != frame_size:
                note(
                    'size',
                    DataError(
                        f'{frame_location(info, frame)}: {frame["image"]} is {frame_size} (height, width), '
                        f'but its mask is {layers[0].shape}'
                    ),
                )
        except DataError as error:
            path = frame.get('mask')
            is_unreadable = path is not None and isinstance(error, UnreadableImageError)
            note(problem_kind(path) if is_unreadable else 'truth', error)
    return frame_size, visible[visible > 0] - 1, problems


def check_video(dataset: ClipDataset, number: int) -> VideoReport:
    """Reads every frame and mask of a video."""
    info = dataset.get_data_info(number)
    if info.get('path'):
        return check_video_file(info)
    indices = range(len(info['frames']))
    labelled = info.get('tracks') is not None or any(frame.get('mask') for frame in info['frames'])
    labelled = labelled and (dataset.index.meta.get('labelled', True) or info['truth'] == 'instance_image')
    labelled = labelled and not (info['truth'] == 'instance_image' and dataset.test_mode)
    reader, size, empty = ANNOTATION_READERS[info['truth']](info, indices) if labelled else None, None, 0
    frames_with, problems = Counter(), []
    visible_ids = set()
    for index in indices:
        frame_size, visible, frame_problems = check_frame(info, index, reader, size)
        size, problems = size or frame_size, problems + frame_problems
        is_annotated = labelled and info['frames'][index].get('annotated', True)
        empty += int(is_annotated and not len(visible) and not frame_problems)
        visible_ids.update(visible.tolist())
        if len(visible):
            frames_with.update(set(np.asarray(reader.labels)[visible].tolist()))
    objects = Counter(int(reader.labels[k]) for k in visible_ids) if reader is not None else Counter()
    return VideoReport(len(indices), empty, dict(frames_with), dict(objects), tuple(problems))


def check_video_file(info: dict) -> VideoReport:
    """Decodes all frames of a video file."""
    try:
        return VideoReport(read_all_frames(info), 0, {}, {}, ())
    except DataError as error:
        return VideoReport(0, 0, {}, {}, (Problem('unreadable', str(info['video_id']), '', str(error)),))


def check_shared(number: int) -> VideoReport:
    """Runs :func:`check_video` on the dataset of this worker process."""
    return check_video(SHARED[-1], number)


def duplicates(dataset: ClipDataset) -> list[Problem]:
    """Problems for image files that are used by more than one frame."""
    owners: dict[str, str] = {}
    problems = []
    for number in range(len(dataset)):
        info = dataset.get_data_info(number)
        for frame in info['frames']:
            first_use = owners.setdefault(frame['image'], frame_location(info, frame))
            if first_use != frame_location(info, frame):
                problems.append(
                    Problem(
                        'duplicate',
                        str(info['video_id']),
                        frame['name'],
                        f'{frame_location(info, frame)}: its image {frame["image"]} is also used by {first_use}',
                    )
                )
    return problems


def no_progress(items: Iterable, total: int) -> Iterable:
    """Default of ``watch``: returns the items without displaying progress."""
    return items


def check_dataset(
    config: dict[str, Any], workers: int = 1, watch: Callable[[Iterable, int], Iterable] = no_progress
) -> DatasetReport:
    """Reads a whole dataset.

    Args:
        config: Config of the dataset, as in a dataloader.
        workers: Number of processes.
        watch: Function (videos, number of videos) -> videos; can display progress.
    """
    settings = dict(config, lazy_init=True, on_error='raise', filter_empty=False)
    origin = str(Path(settings.get('data_root') or '', settings.get('ann_file') or ''))
    name = settings['type']
    faults: list[DataError] = []
    try:
        dataset: ClipDataset = DATASETS.build(settings)
        dataset.faults = faults
        dataset.full_init()
    except DataError as error:
        reported = faults if faults and isinstance(error, NoVideoError) else [*faults, error]
        problems = tuple(Problem('annotation', '', '', str(fault)) for fault in reported)
        return DatasetReport(name, origin, problems=problems)
    dataset.faults = None
    numbers = range(len(dataset))
    if workers > 1:  # the dataset is sent once per process, not once per video
        with ProcessPoolExecutor(workers, initializer=SHARED.append, initargs=(dataset,)) as pool:
            reports = list(watch(pool.map(check_shared, numbers, chunksize=4), len(dataset)))
    else:
        reports = list(watch(map(partial(check_video, dataset), numbers), len(dataset)))
    problems = [Problem('annotation', '', '', str(error)) for error in (*faults, *dataset.index.meta['notes'])]
    problems += [problem for report in reports for problem in report.problems] + duplicates(dataset)
    labelled = any(report.objects for report in reports)
    names = dataset.metainfo['classes']
    classes = (
        {
            names[label]: dict(
                videos=sum(label in report.objects for report in reports),
                frames=sum(report.frames_with.get(label, 0) for report in reports),
                objects=sum(report.objects.get(label, 0) for report in reports),
            )
            for label in range(len(names))
        }
        if labelled
        else {}
    )
    empty = tuple(
        str(dataset.get_data_info(k)['video_id']) for k, report in enumerate(reports) if labelled and not report.objects
    )
    return DatasetReport(
        name,
        str(dataset.origin),
        len(reports),
        sum(report.frames for report in reports),
        empty,
        sum(report.empty for report in reports),
        classes,
        tuple(problems),
    )


def datasets_in(dataset: dict[str, Any]) -> list[dict[str, Any]]:
    """Flat list of the datasets in a dataloader's dataset config, which may be a concatenation or another wrapper."""
    if 'datasets' in dataset:  # a concatenation
        parts = dataset['datasets']
        parts = list(parts.values()) if isinstance(parts, dict) else parts
        if dataset.get('type') == 'ConcatClipDataset':
            parts = [with_shared_options(part, dataset.get('clip'), dataset.get('augment')) for part in parts]
        return [child for part in parts for child in datasets_in(part)]
    return datasets_in(dataset['dataset']) if 'dataset' in dataset else [dataset]  # a wrapper


def report_table(reports: list[DatasetReport]) -> str:
    """Table with one row per dataset: its content and the number of problems of each kind."""
    table = PrettyTable(['dataset', 'file', 'videos', 'frames', 'objects', 'no object', *PROBLEM_KINDS])
    for report in reports:
        kinds = Counter(problem.kind for problem in report.problems)
        objects = sum(counts['objects'] for counts in report.classes.values())
        table.add_row(
            [
                report.name,
                Path(report.origin).name,
                report.videos,
                report.frames,
                objects,
                len(report.empty_videos),
                *(kinds[kind] for kind in PROBLEM_KINDS),
            ]
        )
    table.align = 'r'
    table.align['dataset'] = table.align['file'] = 'l'
    return str(table)
