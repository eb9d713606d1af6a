"""Splits the distance to a perfect score into kinds of errors, with oracle substitutions one at a time."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mmdvis.evaluation.files.scoring import FLAVOURS, by_class, vpq_figures
from mmdvis.evaluation.files.track_files import VideoTracks, count_vis, read_result_tracks
from mmdvis.evaluation.files.vspw_files import mask_files, read_names, vss_frames
from mmdvis.evaluation.functional import oracle_parts, oracle_tracks, stq, vis_ap, vpq, vss
from mmdvis.evaluation.functional.frame_table import FrameTable

AS_IT_IS, ALL = 'as predicted', 'all of these'
Figures = dict[str, float]
Losses = dict[str, Figures]  # kind of errors that are replaced -> scores


def variants(kinds: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Name of a row -> kinds of errors that are replaced: none, each one alone, and all."""
    return {
        AS_IT_IS: (),
        **{kind: (kind,) for kind in kinds},
        ALL: ('false', 'association', 'classes', 'missed', 'masks'),
    }


def panoptic_losses(
    flavour: str, is_thing: dict[int, bool], videos: Sequence[Sequence[FrameTable]], watch: Callable = iter
) -> Losses:
    """VPQ, STQ, AQ and SQ in [0, 1] after each substitution; AQ and STQ use the corrected numbering.

    Args:
        flavour: Key of ``FLAVOURS``.
        is_thing: Category id -> whether it is a thing.
        videos: Frame tables of each video.
        watch: Wraps the videos; can display progress.
    """
    kind = FLAVOURS[flavour]
    windows = list(kind.windows.values())
    rows = variants(list(oracle_parts.SUBSTITUTIONS))
    counts = {name: {window: vpq.WindowCounts() for window in windows} for name in rows}
    tubes: dict[str, list[stq.STQCounts]] = {name: [] for name in rows}
    for tables in watch(videos):
        for name, parts in rows.items():
            changed = oracle_parts.substituted(tables, parts)
            for window, found in vpq.count_video(changed, windows, kind.rules).items():
                counts[name][window] += found
            tubes[name].append(stq.count_stq(changed, is_thing, 'corrected'))
    losses = {}
    for name in rows:
        figures = vpq_figures(counts[name], is_thing, kind)
        score = dict(zip(('STQ', 'AQ', 'SQ'), stq.sum_videos(tubes[name]).summarise()))
        losses[name] = {key: figures[key] for key in ('VPQ', 'VPQ_Th', 'VPQ_St')} | score
    return losses


def semantic_losses(root: Path, names: Path, predicted: Path, watch: Callable = iter) -> Losses:
    """Mean and frequency-weighted IoU and pixel accuracy in [0, 1] after each substitution, for the layout of VSPW.

    A class of a frame counts as one segment, so there are no errors of association.

    Args:
        root: See :func:`score_vss`.
        names: See :func:`score_vss`.
        predicted: See :func:`score_vss`.
        watch: Wraps the videos; can display progress.
    """
    rows = variants([kind for kind in oracle_parts.SUBSTITUTIONS if kind != 'association'])
    total = dict.fromkeys(rows, 0)
    for video in watch(read_names(names)):
        pairs = [(mask, predicted / video / mask.name) for mask in mask_files(root, video)]
        tables = [oracle_parts.semantic_table(*maps, vss.NUM_CLASSES) for maps in vss_frames(pairs)]
        for name, parts in rows.items():
            changed = oracle_parts.substituted(tables, [part for part in parts if part != 'association'])
            total[name] = total[name] + oracle_parts.confusion_of_tables(changed, vss.NUM_CLASSES)
    scores = {name: vss.summarize_vss(vss.VSSCounts(confusion, {})) for name, confusion in total.items()}
    return {name: {key: figures[key] for key in ('mIoU', 'fwIoU', 'pixel_acc')} for name, figures in scores.items()}


def track_losses(gt_json: Path, pred_json: Path, watch: Callable = iter) -> Losses:
    """AP, AP50, AP75 and AR10 in [0, 1] after each substitution, for the layout of YouTube-VIS.

    Args:
        gt_json: See :func:`score_vis`.
        pred_json: See :func:`score_vis`.
        watch: Wraps the videos; can display progress.
    """
    names, videos = read_result_tracks(gt_json, pred_json)
    rows = variants(list(oracle_tracks.SUBSTITUTIONS))
    counts: dict[str, list[Mapping]] = {name: [] for name in rows}
    for video in watch(videos):
        for name, parts in rows.items():
            found = oracle_tracks.substituted(video.found, video.truths, parts, video.size) if parts else video.found
            counts[name].append(count_vis(VideoTracks(video.size, video.length, video.categories, video.truths, found)))
    scores = {name: vis_ap.summarize_ap(by_class(values, names)) for name, values in counts.items()}
    return {name: {key: figures[key] for key in ('AP', 'AP50', 'AP75', 'AR10')} for name, figures in scores.items()}
