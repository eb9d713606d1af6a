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
class FrameFiles:
    """One frame.

    Attributes:
        name: for messages.
        truth, predicted: RGB PNGs, id = R + 256 G + 65536 B.
        truth_segments, predicted_segments: ``segments_info`` of each.
    """
    name: str
    truth: Path
    truth_segments: Sequence[dict]
    predicted: Path
    predicted_segments: Sequence[dict]


@dataclass(frozen=True)
class PanopticFiles:
    """Truth and predictions of a set.

    Attributes:
        is_thing: category id -> whether it is a thing, in the order of the json.
        names: category id -> name.
        videos: video id -> its frames in the order of time.
    """
    is_thing: Dict[int, bool]
    names: Dict[int, str]
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


def categories_of(content: Any, path: Path) -> Tuple[Dict[int, bool], Dict[int, str]]:
    """Category id -> whether it is a thing, and -> its name."""
    categories = entry_of(content, 'categories', path)
    return ({c['id']: c.get('isthing') == 1 for c in categories}, {c['id']: str(c.get('name', c['id'])) for c in categories})


def read_vipseg(gt_json: Path, gt_dir: Path, predicted: Path) -> PanopticFiles:
    """VIPSeg's layout, which VIPER has here, too.

    Args:
        gt_json: ``categories`` and, by video, ``annotations``.
        gt_dir: ``<video>/<frame>.png``.
        predicted: folder with ``pred.json`` and ``pan_pred/<video>/<frame>.png``; frames in the order of ``gt_json``, PNGs
            named as there, videos in any order.

    Raises:
        BadInputError: a file is absent or damaged, there is no video, or a video lacks frames.
    """
    content, found_json = read_json(gt_json), predicted / 'pred.json'
    found = {v['video_id']: v['annotations'] for v in entry_of(read_json(found_json), 'annotations', found_json)}
    is_thing, names = categories_of(content, gt_json)
    videos = {}
    for video in entry_of(content, 'annotations', gt_json):
        name, frames = video['video_id'], video['annotations']
        if name not in found:
            raise BadInputError(f'{found_json} lacks the video {name}, which {gt_json} has')
        if len(found[name]) != len(frames):
            raise BadInputError(f'video {name} has {len(frames)} frames in {gt_json}, the prediction in {found_json} '
                                f'{len(found[name])}')
        videos[name] = tuple(
            FrameFiles(f"video {name}, frame {frame['file_name']}", gt_dir / name / frame['file_name'], frame['segments_info'],
                       predicted / 'pan_pred' / name / frame['file_name'], other['segments_info'])
            for frame, other in zip(frames, found[name]))
    return checked(PanopticFiles(is_thing, names, videos), gt_json)


def checked(files: PanopticFiles, gt_json: Path) -> PanopticFiles:
    """The same files; raises BadInputError where there is no video."""
    if not files.videos:
        raise BadInputError(f'{gt_json} holds no annotations, so there is nothing to score')
    return files


def read_cityscapes(gt_json: Path, gt_dir: Path, predicted: Path) -> PanopticFiles:
    """The layout of Cityscapes-VPS: flat lists, six annotated frames a video.

    Args:
        gt_json: flat ``images`` and ``annotations``.
        gt_dir: masks with the names of the annotations.
        predicted: folder with ``pred.json`` and ``pan_pred/<image id>.png``. A prediction of all 30 frames of the videos is
            sub-sampled to the annotated ones: by its image ids, or every fifth from the fifth on.

    Raises:
        BadInputError: a file is absent or damaged, or the numbers of frames do not fit.
    """
    content, found_json = read_json(gt_json), predicted / 'pred.json'
    truth = sorted(entry_of(content, 'annotations', gt_json), key=lambda frame: frame['image_id'])
    found = annotated_only(entry_of(read_json(found_json), 'annotations', found_json), truth, found_json)
    if len(truth) % CITYSCAPES_FRAMES:
        raise BadInputError(f'{gt_json} has {len(truth)} annotated frames; Cityscapes-VPS has {CITYSCAPES_FRAMES} a video')
    frames = [FrameFiles(f"frame {frame['image_id']}", mask_path(gt_dir, frame['file_name']), frame['segments_info'],
                         predicted / 'pan_pred' / f"{frame['image_id']}.png", other['segments_info'])
              for frame, other in zip(truth, found)]
    videos = {str(k // CITYSCAPES_FRAMES): tuple(frames[k:k + CITYSCAPES_FRAMES])
              for k in range(0, len(frames), CITYSCAPES_FRAMES)}
    return checked(PanopticFiles(*categories_of(content, gt_json), videos), gt_json)


def annotated_only(found: List[dict], truth: List[dict], path: Path) -> List[dict]:
    """The predictions of the annotated frames, in the order of ``truth`` (sorted by image id)."""
    by_id = {frame['image_id']: frame for frame in found if 'image_id' in frame}
    if all(frame['image_id'] in by_id for frame in truth):
        return [by_id[frame['image_id']] for frame in truth]
    if len(found) == len(truth) * CITYSCAPES_STEP:
        return found[CITYSCAPES_STEP - 1::CITYSCAPES_STEP]
    if len(found) != len(truth):
        raise BadInputError(f'{path} has {len(found)} frames; the truth has {len(truth)}, or {len(truth) * CITYSCAPES_STEP} '
                            'with the frames that are not annotated')
    return found


def mask_path(folder: Path, name: str) -> Path:
    """A mask of Cityscapes-VPS, under whichever ending its release has."""
    stem = next((name[:-len(end)] for end in ('_newImg8bit.png', '_leftImg8bit.png', *MASK_ENDINGS) if name.endswith(end)), name)
    return next((folder / (stem + end) for end in MASK_ENDINGS if (folder / (stem + end)).is_file()), folder / name)


def read_images(gt_json: Path, gt_dir: Path, pred_json: Path, pred_dir: Path) -> PanopticFiles:
    """COCO's panoptic layout; every image is a video of one frame, paired by ``image_id``.

    Raises:
        BadInputError: a file is absent or damaged, or an image has no prediction.
    """
    content = read_json(gt_json)
    found = {frame['image_id']: frame for frame in entry_of(read_json(pred_json), 'annotations', pred_json)}
    videos = {}
    for frame in entry_of(content, 'annotations', gt_json):
        name = frame['image_id']
        if name not in found:
            raise BadInputError(f'{pred_json} lacks image {name}, which {gt_json} has')
        videos[str(name)] = (FrameFiles(f'image {name}', gt_dir / frame['file_name'], frame['segments_info'],
                                        pred_dir / found[name]['file_name'], found[name]['segments_info']), )
    return checked(PanopticFiles(*categories_of(content, gt_json), videos), gt_json)
