"""Looks at every file of a dataset and tells all that is wrong, instead of stopping at the first."""

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
from mmdvis.datasets.transforms.ground_truth import ANNOTATION_READERS, frame_location, with_frame_location
from mmdvis.datasets.transforms.loading import check_size
from mmdvis.errors import DataError
from mmdvis.io import read_image
from mmdvis.registry import DATASETS

SHARED: list[ClipDataset] = []  # of a worker process
PROBLEM_KINDS = ('annotation', 'missing', 'unreadable', 'size', 'truth', 'duplicate')


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: its kind (of ``KINDS``), where (may be empty), and a sentence."""

    kind: str
    video: str
    frame: str
    text: str


@dataclass(frozen=True)
class VideoReport:
    """What one video holds.

    Attributes:
        frames: their number; empty: frames without any object, where there are labels.
        videos_with, frames_with: class label -> 1, and frames in which it is seen; objects: class label -> objects.
        problems: what is wrong.
    """

    frames: int
    empty: int
    frames_with: dict[int, int]
    objects: dict[int, int]
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class DatasetReport:
    """What a dataset holds.

    Attributes:
        name: of the dataset; origin: its official file.
        videos, frames: numbers; empty_videos: names of labelled videos without an object; empty_frames: number.
        classes: class -> videos, frames and objects with it.
        problems: all that is wrong.
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
        """As json takes it."""
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
    """Whether a file that cannot be read is missing or damaged."""
    return 'unreadable' if os.path.exists(path) else 'missing'


def check_frame(
    info: dict, index: int, reader: object | None, size: tuple[int, int] | None
) -> tuple[tuple[int, int] | None, np.ndarray, list[Problem]]:
    """One frame.

    Args:
        info: of the video; index: of the frame.
        reader: of the truth; None where there is none.
        size: of the frames before.

    Returns:
        its size or None, the positions of the objects seen in it, and what is wrong.
    """
    frame, found, seen = info['frames'][index], None, np.zeros(0, int)
    problems: list[Problem] = []

    def note(kind: str, error: DataError) -> None:
        problems.append(
            Problem(kind, str(info['video_id']), frame['name'], str(with_frame_location(info, frame, error)))
        )

    try:
        found = read_image(frame['image']).shape[:2]
    except DataError as error:
        note(problem_kind(frame['image']), error)
    if found:
        try:
            check_size(info, frame, found, size)
        except DataError as error:
            note('size', error)
    if reader is not None:
        try:
            layers = reader.layers(index)
            seen = np.unique(np.concatenate([np.unique(layer) for layer in layers]))
            if found and layers[0].shape != found:
                note(
                    'size',
                    DataError(
                        f'{frame_location(info, frame)}: {frame["image"]} is {found} (height, width), its mask '
                        f'{layers[0].shape}'
                    ),
                )
        except DataError as error:
            path = frame.get('mask')
            is_read = path is None or ('cannot be read' not in str(error) and 'is an image of mode' not in str(error))
            note('truth' if is_read else problem_kind(path), error)
    return found, seen[seen > 0] - 1, problems


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
    seen_ever = set()
    for index in indices:
        found, seen, wrong = check_frame(info, index, reader, size)
        size, problems = size or found, problems + wrong
        empty += int(labelled and not len(seen) and not wrong)
        seen_ever.update(seen.tolist())
        if len(seen):
            frames_with.update(set(np.asarray(reader.labels)[seen].tolist()))
    objects = Counter(int(reader.labels[k]) for k in seen_ever) if reader is not None else Counter()
    return VideoReport(len(indices), empty, dict(frames_with), dict(objects), tuple(problems))


def check_video_file(info: dict) -> VideoReport:
    """Decodes a video file to its end."""
    try:
        return VideoReport(read_all_frames(info), 0, {}, {}, ())
    except DataError as error:
        return VideoReport(0, 0, {}, {}, (Problem('unreadable', str(info['video_id']), '', str(error)),))


def check_shared(number: int) -> VideoReport:
    """:func:`check_video` of the dataset that this process was given."""
    return check_video(SHARED[-1], number)


def duplicates(dataset: ClipDataset) -> list[Problem]:
    """Image files that two frames share."""
    owners: dict[str, str] = {}
    problems = []
    for number in range(len(dataset)):
        info = dataset.get_data_info(number)
        for frame in info['frames']:
            other = owners.setdefault(frame['image'], frame_location(info, frame))
            if other != frame_location(info, frame):
                problems.append(
                    Problem(
                        'duplicate',
                        str(info['video_id']),
                        frame['name'],
                        f'{frame_location(info, frame)}: its image {frame["image"]} is also that of {other}',
                    )
                )
    return problems


def no_progress(items: Iterable, total: int) -> Iterable:
    """The items without a sign of progress."""
    return items


def check_dataset(
    config: dict[str, Any], workers: int = 1, watch: Callable[[Iterable, int], Iterable] = no_progress
) -> DatasetReport:
    """Reads a whole dataset.

    Args:
        config: of a dataset, as in a dataloader.
        workers: processes.
        watch: (videos, their number) -> videos; may show progress.
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
        told = faults if faults and isinstance(error, NoVideoError) else [*faults, error]
        problems = tuple(Problem('annotation', '', '', str(fault)) for fault in told)
        return DatasetReport(name, origin, problems=problems)
    dataset.faults = None
    numbers = range(len(dataset))
    if workers > 1:  # each process gets the dataset once, not with every video
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
    """The datasets of a dataloader's, which may be a concatenation or another wrapper."""
    if 'datasets' in dataset:  # a concatenation
        parts = dataset['datasets']
        return [one for part in (parts.values() if isinstance(parts, dict) else parts) for one in datasets_in(part)]
    return datasets_in(dataset['dataset']) if 'dataset' in dataset else [dataset]  # a wrapper


def report_table(reports: list[DatasetReport]) -> str:
    """A row for each dataset: what it holds, and how many problems of each kind."""
    text = PrettyTable(['dataset', 'file', 'videos', 'frames', 'objects', 'no object', *PROBLEM_KINDS])
    for report in reports:
        kinds = Counter(problem.kind for problem in report.problems)
        objects = sum(found['objects'] for found in report.classes.values())
        text.add_row(
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
    text.align = 'r'
    text.align['dataset'] = text.align['file'] = 'l'
    return str(text)
