"""The table and the pictures of the toy recipe, from the figures that its runs left."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from prettytable import PrettyTable
from scipy.optimize import linear_sum_assignment

from mmdvis.datasets.transforms import id_maps_of, labels_of
from mmdvis.datasets.vipseg import VIPSegDataset
from mmdvis.io import VideoWriter
from mmdvis.models.detectors import DVIS
from mmdvis.structures import FrameSource, Segment, VideoDataSample
from mmdvis.visualization import draw_panoptic

METRIC_COLUMNS = ('VPQ', 'VPQ1', 'VPQ2', 'VPQ4', 'VPQ6', 'VPQ_Th', 'VPQ_St', 'VPQ6_Th', 'STQ', 'AQ', 'SQ')
CORRECTED_METRICS = ('STQ', 'AQ', 'SQ')  # shown with the corrected numbering


def row_of(metrics: dict[str, float]) -> dict[str, float]:
    """One row of the table from the figures of a test run."""
    return {name: metrics[f'{name}{"_corrected" if name in CORRECTED_METRICS else ""}'] for name in METRIC_COLUMNS}


def write_summary(folder: Path, systems: tuple[str, ...], seconds: dict[str, float]) -> dict[str, dict[str, float]]:
    """Writes ``summary.json`` and returns its rows and the seconds of each step.

    Args:
        folder: holds ``<system>/metrics.json``.
        systems: names of the rows.
        seconds: of each step.
    """
    rows = {name: row_of(json.loads((folder / name / 'metrics.json').read_text())) for name in systems}
    summary = dict(rows, seconds=seconds)
    (folder / 'summary.json').write_text(json.dumps(summary, indent=1))
    return summary


def summary_table(summary: dict[str, dict[str, float]]) -> str:
    """The rows of a summary as text, in percent."""
    text = PrettyTable(['system', *METRIC_COLUMNS])
    for name, row in summary.items():
        if name != 'seconds':
            text.add_row([name, *(f'{100 * row[column]:.1f}' for column in METRIC_COLUMNS)])
    text.align, text.align['system'] = 'r', 'l'
    return str(text)


def ground_truth_of(record: dict, num_things: int) -> tuple[list[np.ndarray], list[Segment]]:
    """Maps of ids and segments of a video of the dataset."""
    maps, labels = list(id_maps_of(record)), labels_of(record)
    return maps, [Segment(i, 0, label, label < num_things, score=1.0) for i, label in labels.items()]


def match_ids(predicted: np.ndarray, truth: np.ndarray) -> dict[int, int]:
    """Predicted id -> the true id it shares most pixels with over the whole video, one to one; others go beyond the true.

    Args:
        predicted, truth (T, H, W): ids, 0 is void.
    """
    ids, true = (np.setdiff1d(np.unique(maps), [0]) for maps in (predicted, truth))
    shared = [[np.count_nonzero((predicted == p) & (truth == g)) for g in true] for p in ids]
    shared = np.array(shared, int).reshape(len(ids), len(true))
    names = {int(p): int(p) + int(true.max(initial=0)) for p in ids}
    rows, columns = linear_sum_assignment(-shared)
    names.update({int(ids[r]): int(true[c]) for r, c in zip(rows, columns) if shared[r, c]})
    return names


def compare_video(model: DVIS, dataset: VIPSegDataset, index: int, out: Path, fps: float = 6.0) -> Path:
    """Writes ``<out>.mp4``, result left and ground truth right, and ``<out>.png``, four frames of it.

    A track has the number and the colour of the object it covers most over the whole video.

    Args:
        model: with a panoptic postprocessor.
        dataset: in test mode.
        index: which video.
        out: path without suffix.
        fps: of the video.
    """
    record, sample = dataset.get_data_info(index), dataset[index]
    source: FrameSource = sample['inputs']
    result: VideoDataSample = model.predict([source], [sample['data_samples']])[0]
    maps, segments = ground_truth_of(record, dataset.metainfo['num_things'])
    panoptic, classes, pairs = result.pred_panoptic, dataset.metainfo['classes'], []
    names = match_ids(panoptic.id_map.numpy(), np.stack(maps))
    named = np.vectorize(lambda i: names.get(i, 0), otypes=[np.int32])(panoptic.id_map.numpy())
    found = [replace(s, id=names[s.id]) for s in panoptic.segments if s.id in names]
    with VideoWriter(out.with_suffix('.mp4'), fps) as writer:
        for t in range(len(source)):
            frame = source.read(t, t + 1)[0].permute(1, 2, 0).numpy()
            frame, ids, truth = enlarge(frame), enlarge(named[t]), enlarge(maps[t])
            pairs.append(
                np.concatenate(
                    [draw_panoptic(frame, ids, found, classes), draw_panoptic(frame, truth, segments, classes)], 1
                )
            )
            writer.write(pairs[-1])
    shown = [pairs[t] for t in np.linspace(0, len(pairs) - 1, 4).astype(int)]
    halves = [[np.ascontiguousarray(part) for part in np.split(pair, 2, 1)] for pair in shown]
    Image.fromarray(np.concatenate([np.concatenate(row, 1) for row in zip(*halves)])).save(out.with_suffix('.png'))
    return out.with_suffix('.mp4')


def enlarge(array: np.ndarray, factor: int = 2) -> np.ndarray:
    """Every pixel ``factor`` times in both directions, so that names fit in."""
    return array.repeat(factor, 0).repeat(factor, 1)
