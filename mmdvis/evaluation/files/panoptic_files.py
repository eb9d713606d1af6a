"""Panoptic truth and predictions as they lie on disk, in the layouts of VIPSeg, VIPER, Cityscapes-VPS and COCO."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmdvis.errors import BadInputError

from .official_json import read_annotations, read_integer, read_json, read_list_field, read_segments, read_text

CITYSCAPES_FRAMES, CITYSCAPES_STEP = 6, 5  # annotated frames of a video, and how many frames they lie apart
GT_MASK_SUFFIXES = ('_final_mask.png', '_gtFine_color.png', '.png')  # of Cityscapes-VPS, its first release, anything


@dataclass(frozen=True)
class GroundTruthFrame:
    """The truth of one frame.

    Attributes:
        name: for messages.
        path: RGB PNG, id = R + 256 G + 65536 B.
        segments: its ``segments_info``.
    """

    name: str
    path: Path
    segments: Sequence[dict]


@dataclass(frozen=True)
class PanopticGroundTruth:
    """The truth of a set, as the official files say it.

    Attributes:
        is_thing: category id -> whether it is a thing, in the order of the json.
        names: category id -> name.
        videos: video id -> its frames in the order of time.
    """

    is_thing: dict[int, bool]
    names: dict[int, str]
    videos: dict[str, tuple[GroundTruthFrame, ...]]


@dataclass(frozen=True)
class FrameFiles:
    """One frame and its prediction.

    Attributes:
        truth: the frame.
        predicted: RGB PNG; predicted_segments: its ``segments_info``.
    """

    truth: GroundTruthFrame
    predicted: Path
    predicted_segments: Sequence[dict]


@dataclass(frozen=True)
class PanopticFiles:
    """Truth and predictions of a set.

    Attributes:
        truth: the set.
        videos: video id -> its frames in the order of time.
    """

    truth: PanopticGroundTruth
    videos: dict[str, tuple[FrameFiles, ...]]


def read_ids(path: Path) -> np.ndarray:
    """The ids (H, W) uint32 of a panoptic PNG.

    Raises:
        BadInputError: the file is absent, damaged, or not RGB.
    """
    if not path.is_file():
        raise BadInputError(f'there is no PNG {path}')
    try:
        with Image.open(path) as image:
            if image.mode != 'RGB':
                raise BadInputError(
                    f'{path} is a PNG of mode {image.mode}; a panoptic PNG is RGB, with id = R + 256 G + 65536 B'
                )
            return np.asarray(image.convert('RGBA')).view('<u4')[..., 0] & 0xFFFFFF
    except BadInputError:
        raise
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's words for damage
        raise BadInputError(f'{path} is no readable PNG: {error}') from None


def build_ground_truth(
    content: Any, path: Path, videos: dict[str, tuple[GroundTruthFrame, ...]]
) -> PanopticGroundTruth:
    """The truth with the categories of a json."""
    is_thing, names = {}, {}
    for k, category in enumerate(read_list_field(content, 'categories', path)):
        number = read_integer(category, 'id', f'{path}, category {k}')
        is_thing[number], names[number] = category.get('isthing') == 1, str(category.get('name', number))
    return PanopticGroundTruth(is_thing, names, videos)


def vipseg_ground_truth(gt_json: Path, gt_dir: Path) -> PanopticGroundTruth:
    """VIPSeg's layout, which VIPER has here, too.

    Args:
        gt_json: ``categories`` and, by video, ``annotations``. Names and order of the PNGs are those of ``videos`` and their
            ``images``, if it has them.
        gt_dir: ``<video>/<frame>.png``.

    Raises:
        BadInputError: the json is absent or damaged, or names no video.
    """
    content, videos = read_json(gt_json), {}
    annotations = read_annotations(content, gt_json)
    listed = {
        read_text(v, 'video_id', f'{gt_json}, a video'): v.get('images') or () for v in content.get('videos') or ()
    }
    for video in annotations:
        name = read_text(video, 'video_id', f'{gt_json} (is it of another flavour?), a video')
        frames = read_list_field(video, 'annotations', f'{gt_json}, video {name}')
        videos[name] = tuple(
            GroundTruthFrame(
                f'video {name}, frame {file_name}',
                gt_dir / name / file_name,
                read_segments(frame, f'{gt_json}, video {name}, frame {file_name}'),
            )
            for file_name, frame in in_image_order(frames, listed.get(name, ()), f'{gt_json}, video {name}')
        )
    return build_ground_truth(content, gt_json, videos)


def in_image_order(frames: list[Any], images: Sequence[Any], where: str) -> list[tuple[str, Any]]:
    """PNG name and annotation of every frame, as ``images`` order and name them; else as the annotations do."""
    by_id = {read_text(image, 'id', where): k for k, image in enumerate(images)}
    found = []
    for frame in frames:
        place = by_id.get(str(frame.get('image_id'))) if isinstance(frame, dict) else None
        name = read_text(frame, 'file_name', where) if place is None else read_text(images[place], 'file_name', where)
        found.append((len(by_id) if place is None else place, str(Path(name).with_suffix('.png')), frame))
    return [(name, frame) for _, name, frame in sorted(found, key=lambda entry: entry[0])]


def read_vipseg(gt_json: Path, gt_dir: Path, predicted: Path) -> PanopticFiles:
    """VIPSeg's layout with predictions.

    Args:
        gt_json, gt_dir: see :func:`vipseg_ground_truth`.
        predicted: folder with ``pred.json`` and ``pan_pred/<video>/<frame>.png``; frames in the order of ``gt_json``, PNGs
            named as there, videos in any order.

    Raises:
        BadInputError: a json is absent or damaged, there is no video, or a video lacks frames.
    """
    truth, found_json, found, videos = vipseg_ground_truth(gt_json, gt_dir), predicted / 'pred.json', {}, {}
    for video in read_list_field(read_json(found_json), 'annotations', found_json):
        found[read_text(video, 'video_id', f'{found_json}, a video')] = read_list_field(
            video, 'annotations', f'{found_json}, a video'
        )
    for name, frames in truth.videos.items():
        if name not in found:
            raise BadInputError(f'{found_json} lacks the video {name}, which {gt_json} has')
        if len(found[name]) != len(frames):
            raise BadInputError(
                f'video {name} has {len(frames)} frames in {gt_json}, the prediction in {found_json} {len(found[name])}'
            )
        videos[name] = tuple(
            FrameFiles(
                frame,
                predicted / 'pan_pred' / name / frame.path.name,
                read_segments(other, f'{found_json}, {frame.name}'),
            )
            for frame, other in zip(frames, found[name])
        )
    return PanopticFiles(truth, videos)


def cityscapes_ground_truth(gt_json: Path, gt_dir: Path) -> PanopticGroundTruth:
    """The layout of Cityscapes-VPS: flat lists, six annotated frames a video, whose names are 0, 1, ...

    Args:
        gt_json: flat ``images`` and ``annotations``, sorted here by image id.
        gt_dir: masks with the names of the annotations.

    Raises:
        BadInputError: the json is absent or damaged, or its frames are no whole videos.
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
            f'{gt_json} has {len(frames)} annotated frames; Cityscapes-VPS has {CITYSCAPES_FRAMES} a video'
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
    """The layout of Cityscapes-VPS with predictions.

    Args:
        gt_json, gt_dir: see :func:`cityscapes_ground_truth`.
        predicted: folder with ``pred.json`` and ``pan_pred/<image id>.png``. A prediction of all 30 frames of the videos is
            sub-sampled to the annotated ones: by its image ids, or every fifth from the fifth on. Without image ids its
            frames must be sorted as the truth's image ids are.

    Raises:
        BadInputError: a json is absent or damaged, or the numbers of frames do not fit.
    """
    truth, found_json = cityscapes_ground_truth(gt_json, gt_dir), predicted / 'pred.json'
    names = [frame.name for frames in truth.videos.values() for frame in frames]
    found = iter(annotated_only(read_list_field(read_json(found_json), 'annotations', found_json), names, found_json))
    return PanopticFiles(
        truth,
        {
            video: tuple(
                FrameFiles(
                    frame,
                    predicted / 'pan_pred' / f'{frame.name}.png',
                    read_segments(next(found), f'{found_json}, frame {frame.name}'),
                )
                for frame in frames
            )
            for video, frames in truth.videos.items()
        },
    )


def annotated_only(found: list[Any], names: list[str], path: Path) -> list[Any]:
    """The predictions of the annotated frames, in the order of their ``names`` (image ids, sorted)."""
    by_id = {str(frame['image_id']): frame for frame in found if isinstance(frame, dict) and 'image_id' in frame}
    if all(name in by_id for name in names):
        return [by_id[name] for name in names]
    if len(found) == len(names) * CITYSCAPES_STEP:
        return found[CITYSCAPES_STEP - 1 :: CITYSCAPES_STEP]
    if len(found) != len(names):
        raise BadInputError(
            f'{path} has {len(found)} frames; the truth has {len(names)}, or {len(names) * CITYSCAPES_STEP} '
            'with the frames that are not annotated'
        )
    return found


def mask_path(folder: Path, name: str) -> Path:
    """A mask of Cityscapes-VPS, under whichever ending its release has."""
    stem = next(
        (name[: -len(end)] for end in ('_newImg8bit.png', '_leftImg8bit.png', *GT_MASK_SUFFIXES) if name.endswith(end)),
        name,
    )
    return next((folder / (stem + end) for end in GT_MASK_SUFFIXES if (folder / (stem + end)).is_file()), folder / name)


def image_ground_truth(gt_json: Path, gt_dir: Path) -> PanopticGroundTruth:
    """COCO's panoptic layout; every image is a video of one frame, named by its id.

    Raises:
        BadInputError: the json is absent or damaged, or names no image.
    """
    content, where = read_json(gt_json), f'{gt_json}, an image'
    return build_ground_truth(
        content,
        gt_json,
        {
            read_text(frame, 'image_id', where): (
                GroundTruthFrame(
                    f'image {frame["image_id"]}',
                    gt_dir / read_text(frame, 'file_name', where),
                    read_segments(frame, f'{gt_json}, image {frame["image_id"]}'),
                ),
            )
            for frame in read_annotations(content, gt_json)
        },
    )


def read_images(gt_json: Path, gt_dir: Path, pred_json: Path, pred_dir: Path) -> PanopticFiles:
    """COCO's panoptic layout with predictions, paired by ``image_id``.

    Raises:
        BadInputError: a json is absent or damaged, or an image has no prediction.
    """
    truth, videos, where = image_ground_truth(gt_json, gt_dir), {}, f'{pred_json}, an image'
    found = {
        read_text(frame, 'image_id', where): frame
        for frame in read_list_field(read_json(pred_json), 'annotations', pred_json)
    }
    for name, (frame,) in truth.videos.items():
        if name not in found:
            raise BadInputError(f'{pred_json} lacks image {name}, which {gt_json} has')
        videos[name] = (
            FrameFiles(
                frame,
                pred_dir / read_text(found[name], 'file_name', where),
                read_segments(found[name], f'{pred_json}, image {name}'),
            ),
        )
    return PanopticFiles(truth, videos)
