"""Readers of panoptic ground truth and predictions in the layouts of VIPSeg, VIPER, Cityscapes-VPS and COCO."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdvis.checks import path_inside
from mmdvis.errors import BadInputError

from .official_json import (
    read_annotations,
    read_flag,
    read_integer,
    read_json,
    read_list_field,
    read_segments,
    read_text,
)

CITYSCAPES_FRAMES, CITYSCAPES_STEP = 6, 5  # annotated frames per video, and their distance in frames
GT_MASK_SUFFIXES = ('_final_mask.png', '_gtFine_color.png', '.png')  # Cityscapes-VPS, its first release, other


@dataclass(frozen=True)
class GroundTruthFrame:
    """Ground truth of one frame.

    Attributes:
        name: Name of the frame in error messages.
        path: RGB PNG with id = R + 256 G + 65536 B.
        segments: ``segments_info`` of the frame.
    """

    name: str
    path: Path
    segments: Sequence[dict]


@dataclass(frozen=True)
class PanopticGroundTruth:
    """Ground truth of a dataset, read from the official files.

    Attributes:
        is_thing: Category id -> whether it is a thing, in the order of the JSON file.
        names: Category id -> name.
        videos: Video id -> frames in temporal order.
    """

    is_thing: dict[int, bool]
    names: dict[int, str]
    videos: dict[str, tuple[GroundTruthFrame, ...]]


@dataclass(frozen=True)
class FrameFiles:
    """Ground truth and prediction of one frame.

    Attributes:
        truth: Ground truth of the frame.
        predicted: RGB PNG of the prediction.
        predicted_segments: ``segments_info`` of the prediction.
    """

    truth: GroundTruthFrame
    predicted: Path
    predicted_segments: Sequence[dict]


@dataclass(frozen=True)
class PanopticFiles:
    """Ground truth and predictions of a dataset.

    Attributes:
        truth: Ground truth of the dataset.
        videos: Video id -> frames in temporal order.
    """

    truth: PanopticGroundTruth
    videos: dict[str, tuple[FrameFiles, ...]]


def build_ground_truth(
    content: Any, path: Path, videos: dict[str, tuple[GroundTruthFrame, ...]]
) -> PanopticGroundTruth:
    """Ground truth with the categories of a JSON file.

    Args:
        content: Content of the JSON file.
        path: Path of the JSON file, for error messages.
        videos: Video id -> frames.
    """
    is_thing, names = {}, {}
    for k, category in enumerate(read_list_field(content, 'categories', path)):
        number = read_integer(category, 'id', f'{path}, category {k}')
        is_thing[number] = read_flag(category, 'isthing', f'{path}, category {number}')
        names[number] = str(category.get('name', number))
    return PanopticGroundTruth(is_thing, names, videos)


def vipseg_ground_truth(gt_json: Path, gt_dir: Path) -> PanopticGroundTruth:
    """Reads ground truth in the layout of VIPSeg, which is also used for VIPER.

    Args:
        gt_json: JSON file with ``categories`` and, per video, ``annotations``. If it has ``videos`` with ``images``,
            they define the names and the order of the PNGs.
        gt_dir: Folder with ``<video>/<frame>.png``.

    Raises:
        BadInputError: The JSON file is missing or malformed, or lists no video.
    """
    content, videos = read_json(gt_json), {}
    annotations = read_annotations(content, gt_json)
    listed = listed_videos(content, gt_json)
    for video in annotations:
        name = read_text(video, 'video_id', f'{gt_json} (is it of another flavour?), a video')
        if name in videos:
            raise BadInputError(f'{gt_json} has annotations of the video {name} more than once')
        frames = read_list_field(video, 'annotations', f'{gt_json}, video {name}')
        videos[name] = tuple(
            GroundTruthFrame(
                f'video {name}, frame {file_name}',
                path_inside(gt_dir, f'{name}/{file_name}', links=True),
                read_segments(frame, f'{gt_json}, video {name}, frame {file_name}'),
            )
            for file_name, frame in in_image_order(frames, listed.get(name, ()), f'{gt_json}, video {name}')
        )
    unlabelled = sorted(listed.keys() - videos.keys())
    if unlabelled:
        raise BadInputError(f"{gt_json} lists the video {unlabelled[0]} in 'videos', but has no annotations of it")
    return build_ground_truth(content, gt_json, videos)


def listed_videos(content: Any, path: Path) -> dict[str, Sequence[Any]]:
    """Video id -> entries of its images in ``videos``; empty if the JSON file has no ``videos``.

    Raises:
        BadInputError: An entry is malformed, or a video is listed more than once.
    """
    listed: dict[str, Sequence[Any]] = {}
    videos = read_list_field(content, 'videos', path) if isinstance(content, dict) and content.get('videos') else ()
    for video in videos:
        name = read_text(video, 'video_id', f'{path}, a video')
        if name in listed:
            raise BadInputError(f"{path} lists the video {name} more than once in 'videos'")
        listed[name] = read_list_field(video, 'images', f'{path}, video {name}') if video.get('images') else ()
    return listed


def in_image_order(frames: list[Any], images: Sequence[Any], where: str) -> list[tuple[str, Any]]:
    """PNG name and annotation of each frame, ordered and named as in ``images`` or, if empty, as in ``frames``."""
    positions = {read_text(image, 'id', where): k for k, image in enumerate(images)}
    ordered, labelled = [], set()
    for frame in frames:
        position = positions.get(str(frame.get('image_id'))) if isinstance(frame, dict) else None
        if position in labelled:
            raise BadInputError(f'{where}: the image {frame["image_id"]} has more than one annotation')
        labelled |= {position} - {None}
        name = (
            read_text(frame, 'file_name', where)
            if position is None
            else read_text(images[position], 'file_name', where)
        )
        if not Path(name).name:
            raise BadInputError(f'{where}: {name!r} is not a file name; it must be that of the frame')
        ordered.append((len(positions) if position is None else position, str(Path(name).with_suffix('.png')), frame))
    unlabelled = [name for name, position in positions.items() if position not in labelled]
    if labelled and unlabelled:
        raise BadInputError(f'{where}: the image {unlabelled[0]} has no annotation; every frame must have one')
    return [(name, frame) for _, name, frame in sorted(ordered, key=lambda entry: entry[0])]


def read_vipseg(gt_json: Path, gt_dir: Path, predicted: Path) -> PanopticFiles:
    """Reads ground truth and predictions in the layout of VIPSeg.

    Args:
        gt_json: See :func:`vipseg_ground_truth`.
        gt_dir: See :func:`vipseg_ground_truth`.
        predicted: Folder with ``pred.json`` and ``pan_pred/<video>/<frame>.png``. Frames have the order of ``gt_json``
            and PNGs have the names of the ground truth; videos can be in any order.

    Raises:
        BadInputError: A JSON file is missing or malformed, or a video or a frame is missing.
    """
    gt, pred_json, predictions, videos = vipseg_ground_truth(gt_json, gt_dir), predicted / 'pred.json', {}, {}
    for video in read_list_field(read_json(pred_json), 'annotations', pred_json):
        name = read_text(video, 'video_id', f'{pred_json}, a video')
        if name in predictions:
            raise BadInputError(f'{pred_json} has the video {name} more than once')
        predictions[name] = read_list_field(video, 'annotations', f'{pred_json}, video {name}')
    for name, frames in gt.videos.items():
        if name not in predictions:
            raise BadInputError(f'{pred_json} lacks the video {name}, which {gt_json} has')
        if len(predictions[name]) != len(frames):
            raise BadInputError(
                f'video {name} has {len(frames)} frames in {gt_json}, but {len(predictions[name])} in {pred_json}'
            )
        videos[name] = tuple(
            FrameFiles(
                frame,
                path_inside(predicted / 'pan_pred', f'{name}/{frame.path.name}', links=True),
                read_segments(prediction, f'{pred_json}, {frame.name}'),
            )
            for frame, prediction in zip(frames, predictions[name])
        )
    return PanopticFiles(gt, videos)


def cityscapes_ground_truth(gt_json: Path, gt_dir: Path) -> PanopticGroundTruth:
    """Reads ground truth in the layout of Cityscapes-VPS.

    The file has flat lists, with six annotated frames per video. Videos are named 0, 1, ...

    Args:
        gt_json: JSON file with flat ``images`` and ``annotations``; the frames are sorted by image id.
        gt_dir: Folder with the masks named in the annotations.

    Raises:
        BadInputError: The JSON file is missing or malformed, or the number of frames is not a multiple of six.
    """
    content = read_json(gt_json)
    where = f'{gt_json} (is it of another flavour?), a frame'
    frames = sorted(
        (
            GroundTruthFrame(
                read_text(frame, 'image_id', where),
                mask_path(gt_dir, read_text(frame, 'file_name', where)),
                read_segments(frame, f'{gt_json}, frame {frame["image_id"]}'),
            )
            for frame in read_annotations(content, gt_json)
        ),
        key=lambda frame: frame.name,
    )
    if len(frames) % CITYSCAPES_FRAMES:
        raise BadInputError(
            f'{gt_json} has {len(frames)} annotated frames; Cityscapes-VPS has {CITYSCAPES_FRAMES} per video'
        )
    return build_ground_truth(
        content,
        gt_json,
        {
            str(k // CITYSCAPES_FRAMES): tuple(frames[k : k + CITYSCAPES_FRAMES])
            for k in range(0, len(frames), CITYSCAPES_FRAMES)
        },
    )


def read_cityscapes(gt_json: Path, gt_dir: Path, predicted: Path) -> PanopticFiles:
    """Reads ground truth and predictions in the layout of Cityscapes-VPS.

    Args:
        gt_json: See :func:`cityscapes_ground_truth`.
        gt_dir: See :func:`cityscapes_ground_truth`.
        predicted: Folder with ``pred.json`` and ``pan_pred/<image id>.png``. A prediction of all 30 frames per video is
            subsampled to the annotated frames: by image id, or every fifth frame starting with the fifth. Without image
            ids, the frames must be in the order of the sorted image ids of the ground truth.

    Raises:
        BadInputError: A JSON file is missing or malformed, or the number of frames differs.
    """
    gt, pred_json = cityscapes_ground_truth(gt_json, gt_dir), predicted / 'pred.json'
    names = [frame.name for frames in gt.videos.values() for frame in frames]
    predictions = iter(
        annotated_only(read_list_field(read_json(pred_json), 'annotations', pred_json), names, pred_json)
    )
    return PanopticFiles(
        gt,
        {
            video: tuple(
                FrameFiles(
                    frame,
                    path_inside(predicted / 'pan_pred', frame.name, '.png', links=True),
                    read_segments(next(predictions), f'{pred_json}, frame {frame.name}'),
                )
                for frame in frames
            )
            for video, frames in gt.videos.items()
        },
    )


def annotated_only(found: list[Any], names: list[str], path: Path) -> list[Any]:
    """Predictions of the annotated frames.

    Args:
        found: Predictions of the annotated frames or of all frames.
        names: Sorted image ids of the annotated frames.
        path: Path of the JSON file, for error messages.

    Raises:
        BadInputError: The number of frames differs.
    """
    by_id = {str(frame['image_id']): frame for frame in found if isinstance(frame, dict) and 'image_id' in frame}
    if all(name in by_id for name in names):
        return [by_id[name] for name in names]
    if len(found) == len(names) * CITYSCAPES_STEP:
        return found[CITYSCAPES_STEP - 1 :: CITYSCAPES_STEP]
    if len(found) != len(names):
        raise BadInputError(
            f'{path} has {len(found)} frames; it must have the {len(names)} annotated frames of the ground truth or '
            f'all {len(names) * CITYSCAPES_STEP} frames'
        )
    return found


def mask_path(folder: Path, name: str) -> Path:
    """Path of a Cityscapes-VPS mask with the suffix that exists in this release of the dataset."""
    stem = next(
        (name[: -len(end)] for end in ('_newImg8bit.png', '_leftImg8bit.png', *GT_MASK_SUFFIXES) if name.endswith(end)),
        name,
    )
    paths = [path_inside(folder, stem, end, links=True) for end in GT_MASK_SUFFIXES]
    return next((path for path in paths if path.is_file()), path_inside(folder, name, links=True))
