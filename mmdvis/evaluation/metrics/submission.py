"""Writes predictions in the format of the challenge servers."""

import json
import os
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import barrier, is_main_process
from mmengine.evaluator import BaseMetric
from PIL import Image

from mmdvis.checks import path_inside
from mmdvis.evaluation.functional.frame_table import MAX_COLOUR
from mmdvis.io import id_to_rgb
from mmdvis.registry import METRICS

from .panoptic_video import frame_segments
from .vis_metric import result_tracks

RESULT_FIELDS = ('pred_semantic', 'pred_panoptic', 'pred_instances')  # by precedence


@METRICS.register_module()
class SubmissionWriter(BaseMetric):
    """Packs the predictions of a test run; the layout depends on the type of the predictions.

    * Panoptic (PVUW): ``pred.json`` and ``pan_pred/<video>/<frame>.png``, RGB with id = R + 256 G + 65536 B. If the
      dataset defines the frames to submit (Cityscapes-VPS), only these are written, directly in ``pan_pred``.
    * Semantic (VSPW): ``<video>/<frame>.png``, greyscale category ids.
    * Instance (YouTube-VIS, OVIS): ``results.json``.

    All files are written to ``<out_dir>.part``, which is renamed to ``out_dir`` once all videos are complete and valid:
    every frame of every video, and only ids and categories that the files can store and the dataset defines.
    ``out_dir`` also contains ``submission.zip``.

    Args:
        out_dir: Folder to create; it must not exist or must be empty.
        collect_device: See :class:`mmengine.evaluator.BaseMetric`.
        prefix: See :class:`mmengine.evaluator.BaseMetric`.

    Raises:
        ValueError: ``out_dir`` is not empty, or a prediction cannot be submitted.
    """

    def __init__(self, out_dir: str, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)
        self.out_dir, self.part = Path(out_dir), Path(f'{out_dir}.part')
        if self.out_dir.exists() and (not self.out_dir.is_dir() or any(self.out_dir.iterdir())):
            raise ValueError(f'{out_dir} exists and is not empty; choose a new folder for the submission')
        if is_main_process() and self.part.exists():  # left over from an interrupted run
            shutil.rmtree(self.part)
        barrier()
        self.part.mkdir(parents=True, exist_ok=True)

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Writes the frames of each video immediately; only the JSON entries are kept in memory."""
        for sample in data_samples:
            result = next(sample[name] for name in RESULT_FIELDS if name in sample)
            categories = list(self.dataset_meta.get('category_ids') or result.classes.category_ids)
            name, frames = sample['video_id'], [Path(frame).stem for frame in sample['frame_names']]
            if 'pred_semantic' in sample:
                self.write_semantic(str(name), frames, sample['pred_semantic'].label_map, categories)
                entry = None
            elif 'pred_panoptic' in sample:
                entry = self.write_panoptic(str(name), frames, sample, categories)
            else:
                entry = [dict(track, video_id=name) for track in result_tracks(sample['pred_instances'], categories)]
                check_lengths(str(name), frames, [len(track['segmentations']) for track in entry])
            self.results.append((str(name), entry))

    def write_panoptic(self, name: str, frames: list[str], sample: dict[str, Any], categories: list[int]) -> Any:
        """Writes the PNGs of a video.

        Returns:
            The entry of the video in ``pred.json``, or a tuple with the entries of its frames if the dataset defines
            the frames to submit.
        """
        result = sample['pred_panoptic']
        maps = result.id_map.numpy()
        check_lengths(name, frames, [len(maps)])
        if maps.min(initial=0) < 0 or maps.max(initial=0) >= MAX_COLOUR:
            raise ValueError(
                f'video {name} has the segment id {maps.max()}; a PNG can store ids from 0 to {MAX_COLOUR - 1}'
            )
        submit = sample.get('submit')
        segments = frame_segments(maps, result.segments, categories)
        selected = [
            (frame, ids, segments_info)
            for frame, ids, segments_info, is_selected in zip(frames, maps, segments, submit or [True] * len(maps))
            if is_selected
        ]
        folder = self.part / 'pan_pred' if submit else path_inside(self.part / 'pan_pred', name)
        save_frames(folder, [frame for frame, _, _ in selected], [id_to_rgb(ids) for _, ids, _ in selected])
        entries = [
            dict(file_name=f'{frame}.png', segments_info=[dict(s, bbox=box_of(ids == s['id'])) for s in segments_info])
            for frame, ids, segments_info in selected
        ]
        if submit:
            return tuple(dict(entry, image_id=frame) for entry, (frame, _, _) in zip(entries, selected))
        return dict(video_id=name, annotations=entries)

    def write_semantic(self, name: str, frames: list[str], labels: np.ndarray, categories: list[int]) -> None:
        """Writes the PNGs of a video."""
        check_lengths(name, frames, [len(labels)])
        if labels.min(initial=0) < 0 or labels.max(initial=0) >= len(categories) or max(categories) > 255:
            raise ValueError(
                f'video {name} has labels from {labels.min(initial=0)} to {labels.max(initial=0)}; the dataset '
                f'has {len(categories)} categories, and a greyscale PNG can store ids up to 255'
            )
        save_frames(path_inside(self.part, name), frames, list(np.asarray(categories, np.uint8)[labels]))

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Writes the JSON file and the archive, and renames the folder; returns the number of videos."""
        names = [name for name, _ in results]
        if not names:
            raise ValueError('no video was predicted, so there is nothing to submit')
        left_out = self.dataset_meta.get('left_out', ())
        if left_out:
            raise ValueError(
                f'{len(left_out)} videos were left out because of bad frames ({", ".join(left_out[:3])}), but a '
                "submission needs all of them; repair the frames, or use on_error='repeat'"
            )
        if len(set(names)) != len(names):
            raise ValueError(
                f'{len(names)} videos have only {len(set(names))} different names; a submission needs each video once'
            )
        entries = [entry for _, entry in results]
        if isinstance(entries[0], tuple):
            frames = sorted((frame for video in entries for frame in video), key=lambda frame: frame['file_name'])
            (self.part / 'pred.json').write_text(json.dumps(dict(annotations=frames)))
        elif isinstance(entries[0], dict):
            (self.part / 'pred.json').write_text(json.dumps(dict(annotations=entries)))
        elif isinstance(entries[0], list):
            (self.part / 'results.json').write_text(json.dumps([track for tracks in entries for track in tracks]))
        files = sorted(path for path in self.part.rglob('*') if path.is_file())
        with zipfile.ZipFile(self.part / 'submission.zip', 'w', zipfile.ZIP_DEFLATED) as archive:
            for path in files:
                archive.write(path, path.relative_to(self.part))
        if self.out_dir.exists():
            shutil.rmtree(self.out_dir)
        os.replace(self.part, self.out_dir)
        return dict(videos=len(names))


def check_lengths(name: str, frames: Sequence[str], lengths: Sequence[int]) -> None:
    """Checks that a prediction has one entry per frame and that the frame names are unique.

    Args:
        name: Name of the video.
        frames: Names of the frames.
        lengths: Number of predicted frames; for instance predictions, of each track.

    Raises:
        ValueError: A length differs from the number of frames, or two frames have the same name.
    """
    wrong_lengths = [length for length in lengths if length != len(frames)]
    if wrong_lengths or len(set(frames)) != len(frames):
        raise ValueError(
            f'video {name} has {len(frames)} frames with {len(set(frames))} different names, but its prediction has '
            f'{wrong_lengths[0] if wrong_lengths else len(frames)}; a submission needs each frame once'
        )


def save_frames(folder: Path, frames: Sequence[str], images: Sequence[np.ndarray]) -> None:
    """Writes ``<folder>/<frame>.png`` for each frame and verifies it by reading it back.

    Raises:
        OSError: A file was not written correctly.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for frame, image in zip(frames, images):
        path = path_inside(folder, frame, '.png')
        Image.fromarray(image).save(path)
        with Image.open(path) as written:
            if not np.array_equal(np.asarray(written), image):
                raise OSError(f'{path} was not written correctly; is the disk full?')


def box_of(mask: np.ndarray) -> list[int]:
    """Bounding box [left, top, width, height] of a bool mask (H, W) with at least one pixel."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)]
