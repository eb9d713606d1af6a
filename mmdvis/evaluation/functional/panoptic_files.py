"""Panoptic truth and predictions as they lie on disk, in the layouts of VIPSeg, VIPER, Cityscapes-VPS and COCO."""
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np
from PIL import Image

CITYSCAPES_FRAMES, CITYSCAPES_STEP = 6, 5  # annotated frames of a video, and how many frames they lie apart
MASK_ENDINGS = ('_final_mask.png', '_gtFine_color.png', '.png')  # of Cityscapes-VPS, its first release, anything


class BadInputError(ValueError):
    """Files that cannot be scored; the message names file, frame and id."""


@dataclass(frozen=True)
class TruthFrame:
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
class PanopticTruth:
    """The truth of a set, as the official files say it.

    Attributes:
        is_thing: category id -> whether it is a thing, in the order of the json.
        names: category id -> name.
        videos: video id -> its frames in the order of time.
    """
    is_thing: Dict[int, bool]
    names: Dict[int, str]
    videos: Dict[str, Tuple[TruthFrame, ...]]


@dataclass(frozen=True)
class FrameFiles:
    """One frame and its prediction.

    Attributes:
        truth: the frame.
        predicted: RGB PNG; predicted_segments: its ``segments_info``.
    """
    truth: TruthFrame
    predicted: Path
    predicted_segments: Sequence[dict]


@dataclass(frozen=True)
class PanopticFiles:
    """Truth and predictions of a set.

    Attributes:
        truth: the set.
        videos: video id -> its frames in the order of time.
    """
    truth: PanopticTruth
    videos: Dict[str, Tuple[FrameFiles, ...]]


def read_json(path: Path) -> Any:
    """The contents of a json file.

    Raises:
        BadInputError: there is no such file, or it is cut off or damaged.
    """
    if not path.is_file():
        raise BadInputError(f'there is no file {path}')
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise BadInputError(f'{path} is no valid json ({error}); is it cut off?') from None


def entry_of(content: Any, key: str, path: Path) -> Any:
    """``content[key]``; raises BadInputError where it is absent."""
    if not isinstance(content, dict) or key not in content:
        has = ', '.join(sorted(content)) if isinstance(content, dict) else f'a {type(content).__name__}'
        raise BadInputError(f'{path} lacks {key!r}; it has {has}')
    return content[key]


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
                raise BadInputError(f'{path} is a PNG of mode {image.mode}; a panoptic PNG is RGB, with '
                                    'id = R + 256 G + 65536 B')
            return np.asarray(image.convert('RGBA')).view('<u4')[..., 0] & 0xFFFFFF
    except OSError as error:
        raise BadInputError(f'{path} is no readable PNG: {error}') from None


def truth_of(content: dict, path: Path, videos: Dict[str, Tuple[TruthFrame, ...]]) -> PanopticTruth:
    """The truth with the categories of a json; raises BadInputError where there is no video."""
    categories = entry_of(content, 'categories', path)
    if not videos:
        raise BadInputError(f'{path} holds no annotations, so there is nothing to score against; '
                            'predictions of this split can only be written for submission')
    return PanopticTruth({c['id']: c.get('isthing') == 1 for c in categories},
                         {c['id']: str(c.get('name', c['id'])) for c in categories}, videos)


def vipseg_truth(gt_json: Path, gt_dir: Path) -> PanopticTruth:
    """VIPSeg's layout, which VIPER has here, too.

    Args:
        gt_json: ``categories`` and, by video, ``annotations``.
        gt_dir: ``<video>/<frame>.png``.

    Raises:
        BadInputError: the json is absent or damaged, or names no video.
    """
    content = read_json(gt_json)
    videos = {video['video_id']: tuple(
        TruthFrame(f"video {video['video_id']}, frame {frame['file_name']}", gt_dir / video['video_id'] / frame['file_name'],
                   frame['segments_info']) for frame in video['annotations']) for video in content.get('annotations', ())}
    return truth_of(content, gt_json, videos)


def read_vipseg(gt_json: Path, gt_dir: Path, predicted: Path) -> PanopticFiles:
    """VIPSeg's layout with predictions.

    Args:
        gt_json, gt_dir: see :func:`vipseg_truth`.
        predicted: folder with ``pred.json`` and ``pan_pred/<video>/<frame>.png``; frames in the order of ``gt_json``, PNGs
            named as there, videos in any order.

    Raises:
        BadInputError: a json is absent or damaged, there is no video, or a video lacks frames.
    """
    truth, found_json = vipseg_truth(gt_json, gt_dir), predicted / 'pred.json'
    found = {v['video_id']: v['annotations'] for v in entry_of(read_json(found_json), 'annotations', found_json)}
    videos = {}
    for name, frames in truth.videos.items():
        if name not in found:
            raise BadInputError(f'{found_json} lacks the video {name}, which {gt_json} has')
        if len(found[name]) != len(frames):
            raise BadInputError(f'video {name} has {len(frames)} frames in {gt_json}, the prediction in {found_json} '
                                f'{len(found[name])}')
        videos[name] = tuple(FrameFiles(frame, predicted / 'pan_pred' / name / frame.path.name, other['segments_info'])
                             for frame, other in zip(frames, found[name]))
    return PanopticFiles(truth, videos)


def cityscapes_truth(gt_json: Path, gt_dir: Path) -> PanopticTruth:
    """The layout of Cityscapes-VPS: flat lists, six annotated frames a video, whose names are 0, 1, ...

    Args:
        gt_json: flat ``images`` and ``annotations``.
        gt_dir: masks with the names of the annotations.

    Raises:
        BadInputError: the json is absent or damaged, or its frames are no whole videos.
    """
    content = read_json(gt_json)
    frames = [TruthFrame(frame['image_id'], mask_path(gt_dir, frame['file_name']), frame['segments_info'])
              for frame in sorted(content.get('annotations', ()), key=lambda frame: frame['image_id'])]
    if len(frames) % CITYSCAPES_FRAMES:
        raise BadInputError(f'{gt_json} has {len(frames)} annotated frames; Cityscapes-VPS has {CITYSCAPES_FRAMES} a video')
    return truth_of(content, gt_json, {str(k // CITYSCAPES_FRAMES): tuple(frames[k:k + CITYSCAPES_FRAMES])
                                       for k in range(0, len(frames), CITYSCAPES_FRAMES)})


def read_cityscapes(gt_json: Path, gt_dir: Path, predicted: Path) -> PanopticFiles:
    """The layout of Cityscapes-VPS with predictions.

    Args:
        gt_json, gt_dir: see :func:`cityscapes_truth`.
        predicted: folder with ``pred.json`` and ``pan_pred/<image id>.png``. A prediction of all 30 frames of the videos is
            sub-sampled to the annotated ones: by its image ids, or every fifth from the fifth on.

    Raises:
        BadInputError: a json is absent or damaged, or the numbers of frames do not fit.
    """
    truth, found_json = cityscapes_truth(gt_json, gt_dir), predicted / 'pred.json'
    names = [frame.name for frames in truth.videos.values() for frame in frames]
    found = iter(annotated_only(entry_of(read_json(found_json), 'annotations', found_json), names, found_json))
    return PanopticFiles(truth, {
        video: tuple(FrameFiles(frame, predicted / 'pan_pred' / f'{frame.name}.png', next(found)['segments_info'])
                     for frame in frames) for video, frames in truth.videos.items()})


def annotated_only(found: List[dict], names: List[str], path: Path) -> List[dict]:
    """The predictions of the annotated frames, in the order of their ``names`` (image ids, sorted)."""
    by_id = {frame['image_id']: frame for frame in found if 'image_id' in frame}
    if all(name in by_id for name in names):
        return [by_id[name] for name in names]
    if len(found) == len(names) * CITYSCAPES_STEP:
        return found[CITYSCAPES_STEP - 1::CITYSCAPES_STEP]
    if len(found) != len(names):
        raise BadInputError(f'{path} has {len(found)} frames; the truth has {len(names)}, or {len(names) * CITYSCAPES_STEP} '
                            'with the frames that are not annotated')
    return found


def mask_path(folder: Path, name: str) -> Path:
    """A mask of Cityscapes-VPS, under whichever ending its release has."""
    stem = next((name[:-len(end)] for end in ('_newImg8bit.png', '_leftImg8bit.png', *MASK_ENDINGS) if name.endswith(end)), name)
    return next((folder / (stem + end) for end in MASK_ENDINGS if (folder / (stem + end)).is_file()), folder / name)


def image_truth(gt_json: Path, gt_dir: Path) -> PanopticTruth:
    """COCO's panoptic layout; every image is a video of one frame, named by its id.

    Raises:
        BadInputError: the json is absent or damaged, or names no image.
    """
    content = read_json(gt_json)
    return truth_of(content, gt_json, {
        str(frame['image_id']): (TruthFrame(f"image {frame['image_id']}", gt_dir / frame['file_name'], frame['segments_info']), )
        for frame in content.get('annotations', ())})


def read_images(gt_json: Path, gt_dir: Path, pred_json: Path, pred_dir: Path) -> PanopticFiles:
    """COCO's panoptic layout with predictions, paired by ``image_id``.

    Raises:
        BadInputError: a json is absent or damaged, or an image has no prediction.
    """
    truth, videos = image_truth(gt_json, gt_dir), {}
    found = {str(frame['image_id']): frame for frame in entry_of(read_json(pred_json), 'annotations', pred_json)}
    for name, (frame, ) in truth.videos.items():
        if name not in found:
            raise BadInputError(f'{pred_json} lacks image {name}, which {gt_json} has')
        videos[name] = (FrameFiles(frame, pred_dir / found[name]['file_name'], found[name]['segments_info']), )
    return PanopticFiles(truth, videos)
