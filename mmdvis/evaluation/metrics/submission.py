"""Writes results as the challenge servers take them."""

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

from mmdvis.evaluation.functional.frame_table import MAX_COLOUR
from mmdvis.io import id_to_rgb
from mmdvis.registry import METRICS

from .panoptic_video import frame_segments
from .vis_metric import result_tracks


@METRICS.register_module()
class SubmissionWriter(BaseMetric):
    """Packs the results of a test run; what they are decides the layout.

    * panoptic (PVUW): ``pred.json`` and ``pan_pred/<video>/<frame>.png``, RGB, id = R + 256 G + 65536 B; of a dataset that names
      the frames to submit (Cityscapes-VPS) only those, all in ``pan_pred``;
    * semantic (VSPW): ``<video>/<frame>.png``, grey, category ids;
    * instances (YouTube-VIS, OVIS): ``results.json``.

    Everything goes to ``<out_dir>.part`` first and takes its place when all videos are there and checked: every frame of
    every video, ids and categories that the files can hold and the dataset knows. ``submission.zip`` lies in ``out_dir``, too.

    Args:
        out_dir: folder to make; it must not hold anything.
        collect_device, prefix: as in mmengine.
    """

    def __init__(self, out_dir: str, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)
        self.out_dir, self.part = Path(out_dir), Path(f'{out_dir}.part')
        if self.out_dir.exists() and (not self.out_dir.is_dir() or any(self.out_dir.iterdir())):
            raise ValueError(f'{out_dir} is there and not empty; name a new folder for the submission')
        if is_main_process() and self.part.exists():  # of a run that did not end
            shutil.rmtree(self.part)
        barrier()
        self.part.mkdir(parents=True, exist_ok=True)

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Writes the frames of each video at once; keeps what goes into the json."""
        categories = list(self.dataset_meta['category_ids'])
        for sample in data_samples:
            name, frames = sample['video_id'], [Path(frame).stem for frame in sample['frame_names']]
            if 'pred_semantic' in sample:
                entry = self.write_semantic(str(name), frames, sample['pred_semantic'].label_map, categories)
            elif 'pred_panoptic' in sample:
                entry = self.write_panoptic(str(name), frames, sample, categories)
            else:
                entry = [dict(track, video_id=name) for track in result_tracks(sample['pred_instances'], categories)]
                check_lengths(str(name), frames, [len(track['segmentations']) for track in entry])
            self.results.append((str(name), entry))

    def write_panoptic(self, name: str, frames: list[str], sample: dict[str, Any], categories: list[int]) -> Any:
        """The PNGs of a video; returns its entry of ``pred.json``, or the entries of its frames."""
        result = sample['pred_panoptic']
        maps = result.id_map.numpy()
        check_lengths(name, frames, [len(maps)])
        if maps.min(initial=0) < 0 or maps.max(initial=0) >= MAX_COLOUR:
            raise ValueError(
                f'video {name} has the segment id {maps.max()}; a PNG holds ids from 0 to {MAX_COLOUR - 1}'
            )
        segments, chosen = frame_segments(result, categories), sample.get('submit') or [True] * len(maps)
        wanted = [(frame, ids, found) for frame, ids, found, is_in in zip(frames, maps, segments, chosen) if is_in]
        folder = self.part / 'pan_pred' if sample.get('submit') else self.part / 'pan_pred' / name
        save_frames(folder, [frame for frame, _, _ in wanted], [id_to_rgb(ids) for _, ids, _ in wanted])
        entries = [
            dict(file_name=f'{frame}.png', segments_info=[dict(s, bbox=box_of(ids == s['id'])) for s in found])
            for frame, ids, found in wanted
        ]
        if sample.get('submit'):
            return tuple(dict(entry, image_id=frame) for entry, (frame, _, _) in zip(entries, wanted))
        return dict(video_id=name, annotations=entries)

    def write_semantic(self, name: str, frames: list[str], labels: np.ndarray, categories: list[int]) -> None:
        """The PNGs of a video."""
        check_lengths(name, frames, [len(labels)])
        if labels.min(initial=0) < 0 or labels.max(initial=0) >= len(categories) or max(categories) > 255:
            raise ValueError(
                f'video {name} has labels from {labels.min(initial=0)} to {labels.max(initial=0)}; the dataset '
                f'knows {len(categories)} categories, and a grey PNG holds ids up to 255'
            )
        save_frames(self.part / name, frames, list(np.asarray(categories, np.uint8)[labels]))

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Writes the json and the archive, and puts the folder in its place; returns the number of videos."""
        names = [name for name, _ in results]
        if not names:
            raise ValueError('no video came, so there is nothing to submit')
        left_out = self.dataset_meta.get('left_out', ())
        if left_out:
            raise ValueError(
                f'{len(left_out)} videos were left out because of bad frames ({", ".join(left_out[:3])}), but a '
                "submission needs all of them; mend the frames, or use on_error='repeat'"
            )
        if len(set(names)) != len(names):
            raise ValueError(
                f'{len(names)} videos came with {len(set(names))} names; a submission needs each video once'
            )
        entries = [entry for _, entry in results]
        if entries and isinstance(entries[0], tuple):
            frames = sorted((frame for video in entries for frame in video), key=lambda frame: frame['file_name'])
            (self.part / 'pred.json').write_text(json.dumps(dict(annotations=frames)))
        elif entries and isinstance(entries[0], dict):
            (self.part / 'pred.json').write_text(json.dumps(dict(annotations=entries)))
        elif entries and isinstance(entries[0], list):
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
    """Raises ValueError where a result has another number of frames than the video."""
    wrong = [length for length in lengths if length != len(frames)]
    if wrong or len(set(frames)) != len(frames):
        raise ValueError(
            f'video {name} has {len(frames)} frames with {len(set(frames))} names, its result has '
            f'{wrong[0] if wrong else len(frames)}; a submission needs every frame once'
        )


def save_frames(folder: Path, frames: Sequence[str], images: Sequence[np.ndarray]) -> None:
    """``<folder>/<frame>.png`` of every frame, read back to see that it is what was meant."""
    folder.mkdir(parents=True, exist_ok=True)
    for frame, image in zip(frames, images):
        path = folder / f'{frame}.png'
        Image.fromarray(image).save(path)
        with Image.open(path) as written:
            if not np.array_equal(np.asarray(written), image):
                raise OSError(f'{path} was not written as it should be; is the disk full?')


def box_of(mask: np.ndarray) -> list[int]:
    """[left, top, width, height] of a bool mask (H, W) with at least one pixel."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)]
