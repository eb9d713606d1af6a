"""Readers of track annotations and results in the JSON format of YouTube-VIS and OVIS."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdvis.checks import run_lengths
from mmdvis.errors import BadInputError
from mmdvis.evaluation.functional import vis_ap

from .official_json import (
    read_annotations,
    read_entry,
    read_flag,
    read_integer,
    read_json,
    read_list_field,
    read_number,
)


@dataclass(frozen=True)
class VideoTracks:
    """Ground-truth and predicted tracks of one video.

    Attributes:
        size: Height and width in pixels.
        length: Number of frames.
        categories: All category ids of the dataset.
        truths: Ground-truth tracks.
        found: Predicted tracks.
    """

    size: tuple[int, int]
    length: int
    categories: tuple[int, ...]
    truths: Sequence[dict]
    found: Sequence[dict]


def read_result_tracks(gt_json: Path, pred_json: Path, ovis: bool = False) -> tuple[dict[int, str], list[VideoTracks]]:
    """Reads ground truth and predictions; returns category -> name, and the videos in the order of their ids.

    Args:
        gt_json: JSON file with ``videos``, ``annotations`` and ``categories`` of YouTube-VIS or OVIS.
        pred_json: JSON file with a list of predicted tracks.
        ovis: Whether ground-truth tracks must have occlusion labels.

    Raises:
        BadInputError: A file is missing or malformed, or a track has an unknown video, a wrong length, or a mask of
            another size.
    """
    results = read_json(pred_json)
    if not isinstance(results, list):
        raise BadInputError(f'{pred_json} contains a {type(results).__name__}; YouTube-VIS results must be a list')
    names, videos, gt_tracks = read_gt_tracks(gt_json, ovis)
    predicted_tracks: dict[int, list[dict]] = {v: [] for v in videos}
    for k, track in enumerate(results):
        where = f'{pred_json}: track {k}'
        read_number(track, 'score', where)
        predicted_tracks[add_checked(track, videos, gt_json, where)].append(track)
    return names, [VideoTracks(*videos[v], tuple(names), gt_tracks[v], predicted_tracks[v]) for v in sorted(videos)]


def read_gt_tracks(gt_json: Path, ovis: bool = False) -> tuple[dict[int, str], dict[int, tuple], dict[int, list[dict]]]:
    """Reads ground-truth tracks; see :func:`read_result_tracks` for arguments and errors.

    Returns:
        Category -> name; video -> (size, length); video -> ground-truth tracks.
    """
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
    gt_tracks: dict[int, list[dict]] = {v: [] for v in videos}
    for k, track in enumerate(annotations):
        where = f'{gt_json}: track {k}'
        areas = read_list_field(track, 'areas', where)
        wrong = [x for x in areas if x is not None and not (type(x) in (int, float) and 0 <= x < float('inf'))]
        if wrong:
            raise BadInputError(f'{where}: areas must be numbers of pixels or null, got {wrong[0]!r}')
        read_flag(track, 'iscrowd', where, default=False)
        if ovis:
            occlusions = read_entry(track, 'occlusion', f'{where} has no occlusion labels, so it is not from OVIS: it')
            invalid = [
                level for level in occlusions or () if level is not None and level not in vis_ap.OCCLUSION_VALUES
            ]
            if invalid:
                allowed = ', '.join(vis_ap.OCCLUSION_VALUES)
                raise BadInputError(f'{where}: occlusion must be {allowed} or null, got {invalid[0]!r}')
        gt_tracks[add_checked(track, videos, gt_json, where)].append(track if ovis else dict(track, occlusion=None))
    return dict(sorted(names.items())), videos, gt_tracks


def add_checked(track: Any, videos: dict[int, tuple], gt_json: Path, where: str) -> int:
    """Video id of a track, after validating its entries.

    Raises:
        BadInputError: The video is unknown, or the number or the size of the masks is wrong.
    """
    video = read_integer(track, 'video_id', where)
    read_integer(track, 'category_id', where)
    if video not in videos:
        raise BadInputError(f'{where} refers to video {video}, which is not in {gt_json}')
    size, length = videos[video]
    masks = read_list_field(track, 'segmentations', where)
    if len(masks) != length:
        raise BadInputError(f'{where} of video {video} has {len(masks)} masks, but the video has {length} frames')
    for t, mask in enumerate(masks):
        check_track_mask(mask, size, f'{where} of video {video}, frame {t}')
    return video


def check_track_mask(mask: Any | None, size: tuple[int, int], where: str) -> None:
    """Checks that a mask is null or a run-length mask of the video's size.

    Args:
        mask: Entry of ``segmentations``.
        size: Height and width of the video.
        where: Track, video and frame, for error messages.

    Raises:
        BadInputError: The mask has another format or size.
    """
    if mask is None:
        return
    if not isinstance(mask, dict) or not isinstance(mask.get('counts'), (str, bytes, list)):
        raise BadInputError(
            f"{where}: a mask must be null or have 'size' and 'counts' (run lengths), got {str(mask)[:60]}"
        )
    if mask.get('size') not in (list(size), tuple(size)):
        raise BadInputError(f'{where}: the mask is {mask.get("size")} (height, width), but the video is {list(size)}')
    check_counts(mask['counts'], size, where)


def check_counts(counts: str | bytes | list, size: tuple[int, int], where: str) -> None:
    """Checks run lengths before pycocotools reads them, because it can loop for ever on wrong ones.

    Args:
        counts: Run lengths, compressed or as a list of integers.
        size: Height and width of the mask.
        where: Track, video and frame, for error messages.

    Raises:
        BadInputError: If the runs are malformed or negative, or their sum is not the number of pixels.
    """
    pixels, found = size[0] * size[1], 'are malformed'
    if isinstance(counts, list):
        valid = all(type(run) is int and 0 <= run <= pixels for run in counts)
    else:
        try:
            counts = run_lengths(counts).tolist()
            valid = all(0 <= run <= pixels for run in counts)
        except ValueError:
            valid = False
    if valid:
        found = f'add up to {sum(counts)}'
    if not valid or sum(counts) != pixels:
        raise BadInputError(
            f'{where}: the run lengths of the mask {found}; they must be integers that are not negative and add up to '
            f'the {pixels} pixels of a mask of {list(size)} (height, width); write the file again'
        )


def count_vis(video: VideoTracks) -> dict[int, vis_ap.Pair]:
    """Category -> pair of one video."""
    return {
        c: vis_ap.make_pair(
            video.size,
            [t for t in video.truths if t['category_id'] == c],
            [d for d in video.found if d['category_id'] == c],
        )
        for c in video.categories
    }
