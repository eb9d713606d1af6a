"""Scores results on disk, whoever wrote them: reads official files, counts video by video, sums up."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmdvis.errors import BadInputError
from mmdvis.evaluation.functional import stq, vis_ap, vpq, vss
from mmdvis.evaluation.functional.frame_table import FrameTable, frame_table

from .panoptic_files import (
    FrameFiles,
    GroundTruthFrame,
    PanopticFiles,
    PanopticGroundTruth,
    cityscapes_ground_truth,
    read_cityscapes,
    read_ids,
    read_images,
    read_vipseg,
    vipseg_ground_truth,
)
from .track_files import count_vis, read_result_tracks

Figures = dict[str, float]


@dataclass(frozen=True)
class Flavour:
    """How a benchmark computes VPQ.

    Attributes:
        read: (gt_json, gt_dir, pred) -> files; truth: (gt_json, gt_dir) -> truth.
        windows: name of each window in the results -> its length in annotated frames.
        averaged: names of the windows that enter VPQ.
        rules: of counting.
    """

    read: Callable[[Path, Path, Path], PanopticFiles]
    truth: Callable[[Path, Path], PanopticGroundTruth]
    windows: dict[str, int]
    averaged: tuple[str, ...]
    rules: vpq.Rules = vpq.VIPSEG_RULES


FLAVOURS = dict(
    vipseg=Flavour(
        read_vipseg, vipseg_ground_truth, {f'VPQ{k}': k for k in (1, 2, 4, 6, 8)}, ('VPQ1', 'VPQ2', 'VPQ4', 'VPQ6')
    ),
    cityscapes=Flavour(
        read_cityscapes,
        cityscapes_ground_truth,
        {f'VPQ@{5 * (k - 1)}': k for k in (1, 2, 3, 4)},
        ('VPQ@0', 'VPQ@5', 'VPQ@10', 'VPQ@15'),
    ),
    viper=Flavour(
        read_vipseg,
        vipseg_ground_truth,
        {f'VPQ@{k}': k for k in (1, 5, 10, 15)},
        ('VPQ@1', 'VPQ@5', 'VPQ@10', 'VPQ@15'),
        vpq.VIPER_RULES,
    ),
)


@dataclass(frozen=True)
class Scores:
    """What scoring gives.

    Attributes:
        figures: flat, fractions in [0, 1]; NaN where a group is empty.
        per_class: name of the class -> its figures.
        per_video: video -> its figures.
        notes: sentences on groups that are empty.
    """

    figures: Figures
    per_class: dict[str, Figures] = field(default_factory=dict)
    per_video: dict[str, Figures] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def in_order(
    function: Callable[[Any], Any], jobs: Sequence[Any], workers: int, watch: Callable[[Iterable], Iterable] = iter
) -> Iterator[Any]:
    """Results of ``function`` in the order of ``jobs``, from ``workers`` processes; ``watch`` may show progress."""
    if workers <= 1:
        yield from watch(map(function, jobs))
        return
    with ProcessPoolExecutor(min(workers, len(jobs))) as pool:
        yield from watch(pool.map(function, jobs))


def video_tables(frames: Sequence[FrameFiles], categories: Iterable[int], merge: bool) -> list[FrameTable]:
    """The tables of a video, one frame's pixels in memory at a time; raises BadInputError where files disagree."""
    return [
        frame_table_of_files(
            frame.truth, read_ids(frame.predicted), frame.predicted_segments, categories, merge, f' ({frame.predicted})'
        )
        for frame in frames
    ]


def frame_table_of_files(
    truth: GroundTruthFrame,
    predicted: np.ndarray,
    segments: Sequence[dict],
    categories: Iterable[int],
    merge: bool = True,
    where: str = '',
) -> FrameTable:
    """The table of one frame.

    Args:
        truth: its truth.
        predicted (H, W): predicted ids; segments: their ``segments_info``.
        categories: ids that a prediction may have.
        merge: see :func:`frame_table`.
        where: what to add to a message.

    Raises:
        BadInputError: map, list and truth disagree.
    """
    true_map = read_ids(truth.path)
    try:
        table = frame_table(true_map, truth.segments, predicted, segments, merge)
        vpq.check_prediction(table, categories, truth.name)
    except ValueError as error:
        place = '' if str(error).startswith(truth.name) else f'{truth.name}: '
        raise BadInputError(f'{place}{error}{where}') from None
    return table


def count_vpq_files(
    frames: Sequence[FrameFiles], is_thing: dict[int, bool], lengths: Sequence[int], rules: vpq.Rules
) -> dict[int, vpq.WindowCounts]:
    """Counts of one video for VPQ; raises BadInputError where files disagree."""
    for frame in frames:
        silent = [s['id'] for s in frame.truth.segments if rules.json_areas and s['area'] is None]
        if silent:
            raise BadInputError(f'{frame.truth.name}: the truth states no area for id {silent[0]}')
    try:
        return vpq.count_video(video_tables(frames, is_thing, rules.merge_repeated), lengths, rules)
    except BadInputError:
        raise
    except ValueError as error:
        raise BadInputError(f'{frames[0].truth.name} and the frames after it: {error}') from None


def count_stq_files(frames: Sequence[FrameFiles], is_thing: dict[int, bool]) -> dict[str, stq.STQCounts]:
    """Counts of one video for STQ, by the official numbering and the corrected one."""
    tables = video_tables(frames, is_thing, merge=True)
    return {suffix: stq.count_stq(tables, is_thing, name) for name, suffix in stq.SUFFIXES.items()}


def empty_groups(figures: Figures) -> tuple[str, ...]:
    """A sentence for every figure that is not a number."""
    return tuple(
        f'{name} is NaN: no class of its group occurs, or every video is shorter than the window'
        for name, value in figures.items()
        if np.isnan(value)
    )


def score_vpq(
    flavour: str,
    gt_json: Path,
    gt_dir: Path,
    predicted: Path,
    exclude: Sequence[int] = (),
    workers: int = 1,
    watch: Callable = iter,
) -> Scores:
    """Video panoptic quality.

    Args:
        flavour: of ``FLAVOURS``.
        gt_json, gt_dir, predicted: see the reader of the flavour.
        exclude: category ids that no mean takes in (VIPER's public code leaves out 11).
        workers: processes; watch: shows progress.
    """
    kind = FLAVOURS[flavour]
    files = kind.read(gt_json, gt_dir, predicted)
    count = partial(
        count_vpq_files, is_thing=files.truth.is_thing, lengths=list(kind.windows.values()), rules=kind.rules
    )
    counts = dict(zip(files.videos, in_order(count, list(files.videos.values()), workers, watch)))
    total = {k: sum((video[k] for video in counts.values()), vpq.WindowCounts()) for k in kind.windows.values()}
    kept = {c: thing for c, thing in files.truth.is_thing.items() if c not in exclude}
    figures = vpq_figures(total, kept, kind)
    per_video = {name: vpq_figures(video, kept, kind) for name, video in counts.items()}
    left_out = {files.truth.names[c] for c in exclude if c in files.truth.names}
    per_class = {name: found for name, found in class_figures(total, files.truth, kind).items() if name not in left_out}
    return Scores(figures, per_class, per_video, empty_groups(figures))


def vpq_figures(total: dict[int, vpq.WindowCounts], is_thing: dict[int, bool], kind: Flavour) -> Figures:
    """The figures of a set from its counts: VPQ by kind of class, its windows, and the mean that VIPSeg's script prints."""
    found = vpq.summarize_vpq(total, is_thing, kind.windows, kind.averaged)
    return {name: found[name] for name in ('VPQ', 'VPQ_Th', 'VPQ_St', *kind.averaged, 'VPQ_12468') if name in found}


def class_figures(total: dict[int, vpq.WindowCounts], truth: PanopticGroundTruth, kind: Flavour) -> dict[str, Figures]:
    """Name of each class that occurs -> PQ of each window, from the counts of a set."""
    found = {
        truth.names[c]: {
            name: total[k].classes[c].quality[0] for name, k in kind.windows.items() if c in total[k].classes
        }
        for c in truth.is_thing
    }
    return {name: figures for name, figures in found.items() if figures}


def score_stq(
    flavour: str, gt_json: Path, gt_dir: Path, predicted: Path, workers: int = 1, watch: Callable = iter
) -> Scores:
    """Segmentation and tracking quality; arguments as of :func:`score_vpq`."""
    files = FLAVOURS[flavour].read(gt_json, gt_dir, predicted)
    count = partial(count_stq_files, is_thing=files.truth.is_thing)
    counts = dict(zip(files.videos, in_order(count, list(files.videos.values()), workers, watch)))
    per_video = {name: stq.figures([video]) for name, video in counts.items()}
    has_tubes = any(video['_corrected'].num_tubes for video in counts.values())
    notes = () if has_tubes else ('the truth has no things, so AQ and STQ are 0',)
    return Scores(stq.figures(list(counts.values())), {}, per_video, notes)


def score_pq(
    gt_json: Path, gt_dir: Path, pred_json: Path, pred_dir: Path, workers: int = 1, watch: Callable = iter
) -> Scores:
    """Image panoptic quality in COCO's layout."""
    files = read_images(gt_json, gt_dir, pred_json, pred_dir)
    count = partial(count_vpq_files, is_thing=files.truth.is_thing, lengths=[1], rules=vpq.IMAGE_RULES)
    total = sum(
        (video[1] for video in in_order(count, list(files.videos.values()), workers, watch)), vpq.WindowCounts()
    )
    figures = pq_figures(total, files.truth.is_thing)
    per_class = {
        files.truth.names[c]: dict(zip(('PQ', 'SQ', 'RQ'), found.quality))
        for c, found in total.classes.items()
        if c in files.truth.names
    }
    return Scores(figures, per_class, {}, empty_groups(figures))


def pq_figures(total: vpq.WindowCounts, is_thing: dict[int, bool]) -> Figures:
    """``PQ``, ``SQ``, ``RQ``, ``PQ_Th``, ``PQ_St`` of images from their counts."""
    figures: Figures = dict(zip(('PQ', 'SQ', 'RQ'), total.mean(is_thing)))
    for name, wanted in (('PQ_Th', True), ('PQ_St', False)):
        figures[name] = total.mean([c for c, thing in is_thing.items() if thing == wanted])[0]
    return figures


def read_labels(path: Path) -> np.ndarray:
    """A grey PNG of labels (H, W) uint8.

    Raises:
        BadInputError: the file is absent, damaged, or not a grey one.
    """
    if not path.is_file():
        raise BadInputError(f'there is no PNG {path}')
    try:
        with Image.open(path) as image:
            if image.mode not in ('L', 'P'):
                raise BadInputError(f'{path} is a PNG of mode {image.mode}; a map of classes is grey (8 bits)')
            return np.asarray(image)
    except BadInputError:
        raise
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's words for damage
        raise BadInputError(f'{path} is no readable PNG: {error}') from None


def vss_frames(pairs: Sequence[tuple[Path, Path]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Truth and prediction of every frame; raises BadInputError where their sizes differ, or those of frames."""
    size = None
    for truth, predicted in pairs:
        maps = read_labels(truth), read_labels(predicted)
        size = size or maps[0].shape
        if maps[0].shape != size:
            raise BadInputError(f'{truth} is {maps[0].shape} (height, width), the first frame of the video {size}')
        if maps[0].shape != maps[1].shape:
            raise BadInputError(f'{predicted} is {maps[1].shape} (height, width), the truth {truth} is {maps[0].shape}')
        yield maps


def mask_files(root: Path, name: str) -> list[Path]:
    """The masks of a video of VSPW, without dot files; raises BadInputError where there is none."""
    masks = sorted(p for p in (root / 'data' / name / 'mask').glob('*.png') if not p.name.startswith('.'))
    if not masks:
        raise BadInputError(f'{root / "data" / name / "mask"} holds no masks of the video {name}')
    return masks


def count_vss_files(pairs: Sequence[tuple[Path, Path]]) -> vss.VSSCounts:
    """Counts of one video."""
    return vss.count_vss_video(vss_frames(pairs))


def score_vss(root: Path, names: Path, predicted: Path, workers: int = 1, watch: Callable = iter) -> Scores:
    """Video semantic segmentation in VSPW's layout.

    Args:
        root: holds ``data/<video>/mask/<frame>.png``.
        names: a video a line.
        predicted: ``<video>/<frame>.png``, classes from 0.
        workers: processes; watch: shows progress.
    """
    if not names.is_file():
        raise BadInputError(f'there is no list of videos {names}')
    videos = {}
    for name in names.read_text().split():
        videos[name] = [(mask, predicted / name / mask.name) for mask in mask_files(root, name)]
    if not videos:
        raise BadInputError(f'{names} names no video')
    counts = dict(zip(videos, in_order(count_vss_files, list(videos.values()), workers, watch)))
    first, *rest = counts.values()
    total = sum(rest, first)
    figures = vss.summarize_vss(total)
    per_class = {str(c): found for c, found in vss.per_class_iou(total).items()}
    return Scores(
        figures, per_class, {name: vss.summarize_vss(video) for name, video in counts.items()}, empty_groups(figures)
    )


def score_vis(
    gt_json: Path,
    pred_json: Path,
    ovis: bool = False,
    long_min_frames: int | None = None,
    workers: int = 1,
    watch: Callable = iter,
) -> Scores:
    """Average precision of tracks, YouTube-VIS and OVIS.

    Args:
        gt_json, pred_json: see :func:`read_result_tracks`.
        ovis: also by occlusion.
        long_min_frames: videos of so many frames are long (YouTube-VIS 2022): adds ``AP_S``, ``AP_L`` and their mean.
        workers: processes; watch: shows progress.
    """
    names, jobs = read_result_tracks(gt_json, pred_json, ovis)
    videos = list(in_order(count_vis, jobs, workers, watch))
    figures = vis_ap.summarize_ap(by_class(videos, names), ovis)
    if long_min_frames is not None:
        is_long = [job.length >= long_min_frames for job in jobs]
        figures.update(
            vis_ap.by_length(
                [by_class([v for v, far in zip(videos, is_long) if far == side], names) for side in (False, True)]
            )
        )
    notes = tuple(
        f'{name} is -1: the truth has nothing to find there' for name, value in figures.items() if value == -1
    )
    per_class = {names[c]: dict(AP=value) for c, value in vis_ap.per_class_ap(by_class(videos, names)).items()}
    return Scores(figures, per_class, {}, notes)


def by_class(videos: Sequence[dict[int, vis_ap.Pair]], categories: Iterable[int]) -> dict[int, list[vis_ap.Pair]]:
    """Category -> its pairs, videos in their order."""
    return {c: [video[c] for video in videos] for c in categories}


def default_workers() -> int:
    """Processes that this machine has cores for."""
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1)
