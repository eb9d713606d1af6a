"""Tracks as they lie on disk: the json of YouTube-VIS and OVIS, and results for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdvis.errors import BadInputError
from mmdvis.evaluation.functional import vis_ap

from .official_json import read_annotations, read_entry, read_integer, read_json, read_list_field, read_number


@dataclass(frozen=True)
class VideoTracks:
    """One video.

    Attributes:
        size: height and width; length: frames.
        categories: all of the set.
        truths, found: its true tracks and its results.
    """

    size: tuple[int, int]
    length: int
    categories: tuple[int, ...]
    truths: Sequence[dict]
    found: Sequence[dict]


def read_result_tracks(gt_json: Path, pred_json: Path, ovis: bool = False) -> tuple[dict[int, str], list[VideoTracks]]:
    """Category -> name, and the videos in the order of their ids.

    Args:
        gt_json: ``videos``, ``annotations`` and ``categories`` of YouTube-VIS or OVIS.
        pred_json: a list of results.
        ovis: whether true tracks must state their occlusion.

    Raises:
        BadInputError: a file is absent or damaged; a track has an unknown video, a wrong length, or a mask of another size.
    """
    results = read_json(pred_json)
    if not isinstance(results, list):
        raise BadInputError(f'{pred_json} holds a {type(results).__name__}; YouTube-VIS results are a list')
    names, videos, truths = read_gt_tracks(gt_json, ovis)
    found: dict[int, list[dict]] = {v: [] for v in videos}
    for k, track in enumerate(results):
        where = f'{pred_json}: track {k}'
        read_number(track, 'score', where)
        found[add_checked(track, videos, gt_json, where)].append(track)
    return names, [VideoTracks(*videos[v], tuple(names), truths[v], found[v]) for v in sorted(videos)]


def read_gt_tracks(gt_json: Path, ovis: bool = False) -> tuple[dict[int, str], dict[int, tuple], dict[int, list[dict]]]:
    """Category -> name; video -> (size, length); video -> true tracks; arguments and errors as of :func:`read_result_tracks`."""
    content = read_json(gt_json)
    annotations = read_annotations(content, gt_json)
    names = {
        read_integer(c, 'id', f'{gt_json}, a category'): str(c.get('name', c['id']))
        for c in read_list_field(content, 'categories', gt_json)
    }
    videos = {}
    for video in read_list_field(content, 'videos', gt_json):
        where = f'{gt_json}, video {video.get("id") if isinstance(video, dict) else video}'
        size = read_integer(video, 'height', where), read_integer(video, 'width', where)
        videos[read_integer(video, 'id', where)] = size, read_integer(video, 'length', where)
    truths: dict[int, list[dict]] = {v: [] for v in videos}
    for k, track in enumerate(annotations):
        where = f'{gt_json}: track {k}'
        read_list_field(track, 'areas', where)
        if ovis:
            levels = read_entry(track, 'occlusion', f'{where} has no occlusion, so it is not of OVIS: it')
            unknown = [level for level in levels or () if level is not None and level not in vis_ap.OCCLUSION_VALUES]
            if unknown:
                allowed = ', '.join(vis_ap.OCCLUSION_VALUES)
                raise BadInputError(f'{where}: occlusion must be {allowed} or null, got {unknown[0]!r}')
        truths[add_checked(track, videos, gt_json, where)].append(track if ovis else dict(track, occlusion=None))
    return dict(sorted(names.items())), videos, truths


def add_checked(track: Any, videos: dict[int, tuple], gt_json: Path, where: str) -> int:
    """The video of a track whose entries are as they should be."""
    video = read_integer(track, 'video_id', where)
    read_integer(track, 'category_id', where)
    if video not in videos:
        raise BadInputError(f'{where} is of video {video}, which {gt_json} does not have')
    size, length = videos[video]
    masks = read_list_field(track, 'segmentations', where)
    if len(masks) != length:
        raise BadInputError(f'{where} of video {video} has {len(masks)} masks, the video has {length} frames')
    for t, mask in enumerate(masks):
        check_track_mask(mask, size, f'{where} of video {video}, frame {t}')
    return video


def check_track_mask(mask: Any | None, size: tuple[int, int], where: str) -> None:
    """Raises BadInputError where a mask is neither null nor a run-length mask of the video's size."""
    if mask is None:
        return
    if not isinstance(mask, dict) or not isinstance(mask.get('counts'), (str, bytes, list)):
        raise BadInputError(
            f"{where}: a mask must be null or have 'size' and 'counts' (run lengths), got {str(mask)[:60]}"
        )
    if list(mask.get('size') or ()) != list(size):
        raise BadInputError(f'{where}: the mask is {mask.get("size")} (height, width), the video {list(size)}')


def count_vis(video: VideoTracks) -> dict[int, vis_ap.Pair]:
    """The pairs of one video: category -> pair."""
    return {
        c: vis_ap.make_pair(
            video.size,
            [t for t in video.truths if t['category_id'] == c],
            [d for d in video.found if d['category_id'] == c],
        )
        for c in video.categories
    }
