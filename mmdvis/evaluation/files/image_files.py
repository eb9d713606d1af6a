"""Readers of panoptic ground truth and predictions of images in COCO's layout."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmdvis.checks import path_inside
from mmdvis.errors import BadInputError

from .official_json import read_annotations, read_json, read_list_field, read_segments, read_text
from .panoptic_files import FrameFiles, GroundTruthFrame, PanopticFiles, PanopticGroundTruth, build_ground_truth


def image_ground_truth(gt_json: Path, gt_dir: Path) -> PanopticGroundTruth:
    """Reads ground truth in COCO's panoptic layout; each image is a video of one frame, named by its image id.

    Args:
        gt_json: JSON file with ``annotations`` and ``categories``.
        gt_dir: Folder with the PNGs.

    Raises:
        BadInputError: The JSON file is missing or malformed, or lists no image.
    """
    content, where = read_json(gt_json), f'{gt_json}, an image'
    return build_ground_truth(
        content,
        gt_json,
        {
            name: (
                GroundTruthFrame(
                    f'image {name}',
                    path_inside(gt_dir, read_text(frame, 'file_name', where), links=True),
                    read_segments(frame, f'{gt_json}, image {name}'),
                ),
            )
            for name, frame in by_image(read_annotations(content, gt_json), gt_json).items()
        },
    )


def by_image(entries: Sequence[Any], path: Path) -> dict[str, Any]:
    """Image id -> entry; raises BadInputError if an image has more than one."""
    found: dict[str, Any] = {}
    for entry in entries:
        name = read_text(entry, 'image_id', f'{path}, an image')
        if name in found:
            raise BadInputError(f'{path} has the image {name} more than once')
        found[name] = entry
    return found


def read_images(gt_json: Path, gt_dir: Path, pred_json: Path, pred_dir: Path) -> PanopticFiles:
    """Reads ground truth and predictions in COCO's panoptic layout, paired by ``image_id``.

    Args:
        gt_json: See :func:`image_ground_truth`.
        gt_dir: See :func:`image_ground_truth`.
        pred_json: JSON file of the predictions.
        pred_dir: Folder with the predicted PNGs.

    Raises:
        BadInputError: A JSON file is missing or malformed, or an image has no prediction.
    """
    gt, videos, where = image_ground_truth(gt_json, gt_dir), {}, f'{pred_json}, an image'
    predictions = by_image(read_list_field(read_json(pred_json), 'annotations', pred_json), pred_json)
    for name, (frame,) in gt.videos.items():
        if name not in predictions:
            raise BadInputError(f'{pred_json} lacks image {name}, which {gt_json} has')
        videos[name] = (
            FrameFiles(
                frame,
                path_inside(pred_dir, read_text(predictions[name], 'file_name', where), links=True),
                read_segments(predictions[name], f'{pred_json}, image {name}'),
            ),
        )
    return PanopticFiles(gt, videos)
