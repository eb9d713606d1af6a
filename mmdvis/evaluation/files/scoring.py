"""Scores result files of any model: reads the official files, counts per video and sums the counts."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmdvis.checks import path_inside
from mmdvis.errors import BadInputError
from mmdvis.evaluation.functional import stq, vis_ap, vpq, vss
from mmdvis.evaluation.functional.frame_table import FrameTable, frame_table

from .consistency import frame_faults, warn_of_faults
from .image_files import read_images
from .panoptic_files import (
    FrameFiles,
    GroundTruthFrame,
    PanopticFiles,
    PanopticGroundTruth,
    cityscapes_ground_truth,
    read_cityscapes,
    read_vipseg,
    vipseg_ground_truth,
)
from .pngs import read_ids
from .track_files import count_vis, read_result_tracks
from .vspw_files import mask_files, read_names, vss_frames

Figures = dict[str, float]


@dataclass(frozen=True)
class Flavour:
    """How a benchmark computes VPQ.

    Attributes:
        read: Function (gt_json, gt_dir, pred) -> ground truth and predictions.
        truth: Function (gt_json, gt_dir) -> ground truth.
        windows: Name of each window in the results -> its length in annotated frames.
        averaged: Names of the windows averaged in VPQ.
        rules: Counting rules.
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
    """Result of scoring.

    Attributes:
        figures: Metric -> value in [0, 1]; NaN if its class group is empty.
        per_class: Class name -> metrics.
        per_video: Video -> metrics.
        notes: One sentence per metric that has no value.
    """

    figures: Figures
    per_class: dict[str, Figures] = field(default_factory=dict)
    per_video: dict[str, Figures] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def in_order(
    function: Callable[[Any], Any], jobs: Sequence[Any], workers: int, watch: Callable[[Iterable], Iterable] = iter
) -> Iterator[Any]:
    """Yields the results of ``function`` in the order of ``jobs``; ``watch`` can display progress."""
    if workers <= 1:
        yield from watch(map(function, jobs))
        return
    with ProcessPoolExecutor(min(workers, len(jobs))) as pool:
        yield from watch(pool.map(function, jobs))


def video_tables(
    frames: Sequence[FrameFiles], categories: Iterable[int], merge: bool, areas: bool = True
) -> list[FrameTable]:
    """Tables of a video, with the pixels of one frame in memory at a time.

    Contradictions that the official scripts do not notice are reported in one warning.

    Args:
        frames: Files of the frames.
        categories: Allowed predicted category ids.
        merge: See :func:`frame_table`.
        areas: Whether the stated areas of the ground truth are compared with its PNGs.

    Raises:
        BadInputError: PNG, JSON file and ground truth of a frame are inconsistent.
    """
    tables, faults = [], []
    for frame in frames:
        predicted, where = read_ids(frame.predicted), f' ({frame.predicted})'
        table = frame_table_of_files(frame.truth, predicted, frame.predicted_segments, categories, merge, where)
        faults += frame_faults(frame.truth.name, table, frame.truth.segments, frame.predicted_segments, areas)
        tables.append(table)
    warn_of_faults(faults)
    return tables


def frame_table_of_files(
    truth: GroundTruthFrame,
    predicted: np.ndarray,
    segments: Sequence[dict],
    categories: Iterable[int],
    merge: bool = True,
    where: str = '',
) -> FrameTable:
    """Table of one frame.

    Args:
        truth: Ground truth of the frame.
        predicted: Predicted ids (H, W).
        segments: ``segments_info`` of the prediction.
        categories: Allowed predicted category ids.
        merge: See :func:`frame_table`.
        where: Text appended to error messages.

    Raises:
        BadInputError: The id map, its ``segments_info`` and the ground truth are inconsistent.
    """
    true_map = read_ids(truth.path)
    try:
        table = frame_table(true_map, truth.segments, predicted, segments, merge)
        vpq.check_prediction(table, categories, truth.name)
    except ValueError as error:
        prefix = '' if str(error).startswith(truth.name) else f'{truth.name}: '
        raise BadInputError(f'{prefix}{error}{where}') from None
    return table


def count_vpq_files(
    frames: Sequence[FrameFiles], is_thing: dict[int, bool], lengths: Sequence[int], rules: vpq.Rules
) -> dict[int, vpq.WindowCounts]:
    """VPQ counts of one video: window length -> counts.

    Raises:
        BadInputError: PNG, JSON file and ground truth of a frame are inconsistent.
    """
    for frame in frames:
        without_area = [s['id'] for s in frame.truth.segments if rules.json_areas and s['area'] is None]
        if without_area:
            raise BadInputError(f'{frame.truth.name}: the ground truth states no area for id {without_area[0]}')
    try:
        tables = video_tables(frames, is_thing, rules.merge_repeated, rules.json_areas)
        return vpq.count_video(tables, lengths, rules)
    except BadInputError:
        raise
    except ValueError as error:
        raise BadInputError(f'{frames[0].truth.name} and the frames after it: {error}') from None


def count_stq_files(frames: Sequence[FrameFiles], is_thing: dict[int, bool]) -> dict[str, stq.STQCounts]:
    """STQ counts of one video with the official and the corrected instance numbering."""
    tables = video_tables(frames, is_thing, merge=True, areas=False)
    return {suffix: stq.count_stq(tables, is_thing, name) for name, suffix in stq.SUFFIXES.items()}


def empty_groups(figures: Figures) -> tuple[str, ...]:
    """One sentence for each metric that is NaN."""
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
    """Computes Video Panoptic Quality.

    Args:
        flavour: Key of ``FLAVOURS``.
        gt_json: See the reader of the flavour.
        gt_dir: See the reader of the flavour.
        predicted: See the reader of the flavour.
        exclude: Category ids excluded from all means (the public VIPER code excludes 11).
        workers: Number of processes.
        watch: Wraps the videos; can display progress.
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
    excluded_names = {files.truth.names[c] for c in exclude if c in files.truth.names}
    per_class = {
        name: metrics for name, metrics in class_figures(total, files.truth, kind).items() if name not in excluded_names
    }
    return Scores(figures, per_class, per_video, empty_groups(figures))


def vpq_figures(total: dict[int, vpq.WindowCounts], is_thing: dict[int, bool], kind: Flavour) -> Figures:
    """Metrics of a dataset from its counts: VPQ of all classes, things and stuff, of each window, and ``VPQ_12468``."""
    metrics = vpq.summarize_vpq(total, is_thing, kind.windows, kind.averaged)
    return {name: metrics[name] for name in ('VPQ', 'VPQ_Th', 'VPQ_St', *kind.averaged, 'VPQ_12468') if name in metrics}


def class_figures(total: dict[int, vpq.WindowCounts], truth: PanopticGroundTruth, kind: Flavour) -> dict[str, Figures]:
    """Name of each class that occurs -> PQ of each window, from the counts of a dataset."""
    per_class = {
        truth.names[c]: {
            name: total[k].classes[c].quality[0] for name, k in kind.windows.items() if c in total[k].classes
        }
        for c in truth.is_thing
    }
    return {name: figures for name, figures in per_class.items() if figures}


def score_stq(
    flavour: str, gt_json: Path, gt_dir: Path, predicted: Path, workers: int = 1, watch: Callable = iter
) -> Scores:
    """Computes Segmentation and Tracking Quality; see :func:`score_vpq` for the arguments."""
    files = FLAVOURS[flavour].read(gt_json, gt_dir, predicted)
    count = partial(count_stq_files, is_thing=files.truth.is_thing)
    counts = dict(zip(files.videos, in_order(count, list(files.videos.values()), workers, watch)))
    per_video = {name: stq.figures([video]) for name, video in counts.items()}
    has_tubes = any(video['_corrected'].num_tubes for video in counts.values())
    notes = () if has_tubes else ('the ground truth has no things, so AQ and STQ are 0',)
    return Scores(stq.figures(list(counts.values())), {}, per_video, notes)


def score_pq(
    gt_json: Path, gt_dir: Path, pred_json: Path, pred_dir: Path, workers: int = 1, watch: Callable = iter
) -> Scores:
    """Computes image Panoptic Quality in COCO's layout; see :func:`read_images` for the paths."""
    files = read_images(gt_json, gt_dir, pred_json, pred_dir)
    count = partial(count_vpq_files, is_thing=files.truth.is_thing, lengths=[1], rules=vpq.IMAGE_RULES)
    total = sum(
        (video[1] for video in in_order(count, list(files.videos.values()), workers, watch)), vpq.WindowCounts()
    )
    figures = pq_figures(total, files.truth.is_thing)
    per_class = {
        files.truth.names[c]: dict(zip(('PQ', 'SQ', 'RQ'), counts.quality))
        for c, counts in total.classes.items()
        if c in files.truth.names
    }
    return Scores(figures, per_class, {}, empty_groups(figures))


def pq_figures(total: vpq.WindowCounts, is_thing: dict[int, bool]) -> Figures:
    """``PQ``, ``SQ``, ``RQ``, ``PQ_Th`` and ``PQ_St`` of images from their counts."""
    figures: Figures = dict(zip(('PQ', 'SQ', 'RQ'), total.mean(is_thing)))
    for name, is_thing_group in (('PQ_Th', True), ('PQ_St', False)):
        figures[name] = total.mean([c for c, thing in is_thing.items() if thing == is_thing_group])[0]
    return figures


def count_vss_files(pairs: Sequence[tuple[Path, Path]]) -> vss.VSSCounts:
    """VSS counts of one video."""
    return vss.count_vss_video(vss_frames(pairs))


def score_vss(root: Path, names: Path, predicted: Path, workers: int = 1, watch: Callable = iter) -> Scores:
    """Computes the metrics of video semantic segmentation in the layout of VSPW.

    Args:
        root: Folder with ``data/<video>/mask/<frame>.png``.
        names: Text file with one video per line.
        predicted: Folder with ``<video>/<frame>.png``; classes start at 0.
        workers: Number of processes.
        watch: Wraps the videos; can display progress.
    """
    if not names.is_file():
        raise BadInputError(f'the list of videos {names} does not exist')
    videos = {}
    for name in read_names(names):
        masks = mask_files(root, name)
        folder = path_inside(predicted, name, links=True)
        extra = sorted({p.name for p in folder.glob('*.png')} - {mask.name for mask in masks})
        if extra:
            raise BadInputError(f'{folder / extra[0]} is a prediction of a frame without a mask in {masks[0].parent}')
        videos[name] = [(mask, folder / mask.name) for mask in masks]
    if not videos:
        raise BadInputError(f'{names} lists no video')
    counts = dict(zip(videos, in_order(count_vss_files, list(videos.values()), workers, watch)))
    first, *rest = counts.values()
    total = sum(rest, first)
    figures = vss.summarize_vss(total)
    per_class = {str(c): metrics for c, metrics in vss.per_class_iou(total).items()}
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
    """Computes average precision of tracks for YouTube-VIS and OVIS.

    Args:
        gt_json: See :func:`read_result_tracks`.
        pred_json: See :func:`read_result_tracks`.
        ovis: Whether to add the metrics by occlusion.
        long_min_frames: Videos with at least this many frames are long (YouTube-VIS 2022); adds ``AP_S``, ``AP_L`` and
            their mean ``AP_SL``.
        workers: Number of processes.
        watch: Wraps the videos; can display progress.
    """
    names, jobs = read_result_tracks(gt_json, pred_json, ovis)
    videos = list(in_order(count_vis, jobs, workers, watch))
    figures = vis_ap.summarize_ap(by_class(videos, names), ovis)
    if long_min_frames is not None:
        is_long = [job.length >= long_min_frames for job in jobs]
        figures.update(
            vis_ap.by_length(
                [by_class([v for v, long in zip(videos, is_long) if long == group], names) for group in (False, True)]
            )
        )
    notes = tuple(
        f'{name} is -1: the ground truth contains no object for this metric'
        for name, value in figures.items()
        if value == -1
    )
    per_class = {names[c]: dict(AP=value) for c, value in vis_ap.per_class_ap(by_class(videos, names)).items()}
    return Scores(figures, per_class, {}, notes)


def by_class(videos: Sequence[dict[int, vis_ap.Pair]], categories: Iterable[int]) -> dict[int, list[vis_ap.Pair]]:
    """Category -> pairs, in the order of the videos."""
    return {c: [video[c] for video in videos] for c in categories}


def default_workers() -> int:
    """Number of CPU cores available to this process, at most eight."""
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1)
