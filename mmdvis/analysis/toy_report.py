"""Table and images of the toy recipe, from the metrics of its runs."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from prettytable import PrettyTable
from scipy.optimize import linear_sum_assignment

from mmdvis.datasets.transforms import ids_and_labels_of
from mmdvis.datasets.vipseg import VIPSegDataset
from mmdvis.io import VideoWriter, write_json
from mmdvis.models.detectors import DVIS
from mmdvis.results import ClassInfo, FrameResult, VideoPanoptic
from mmdvis.structures import FrameSource, Segment
from mmdvis.visualization import ResultVisualizer

METRIC_COLUMNS = ('VPQ', 'VPQ1', 'VPQ2', 'VPQ4', 'VPQ6', 'VPQ_Th', 'VPQ_St', 'VPQ6_Th', 'STQ', 'AQ', 'SQ')
CORRECTED_METRICS = ('STQ', 'AQ', 'SQ')  # reported with the corrected numbering


def row_of(metrics: dict[str, float]) -> dict[str, float]:
    """Table row of the metrics of a test run."""
    return {name: metrics[f'{name}{"_corrected" if name in CORRECTED_METRICS else ""}'] for name in METRIC_COLUMNS}


def write_summary(folder: Path, systems: tuple[str, ...], seconds: dict[str, float]) -> dict[str, dict[str, float]]:
    """Writes ``summary.json`` and returns its content: one row per system and the seconds of each step.

    Args:
        folder: Folder that contains ``<system>/metrics.json``.
        systems: Names of the systems.
        seconds: Step -> duration in seconds.
    """
    rows = {name: row_of(json.loads((folder / name / 'metrics.json').read_text())) for name in systems}
    summary = dict(rows, seconds=seconds)
    write_json(folder / 'summary.json', summary, indent=1)
    return summary


def summary_table(summary: dict[str, dict[str, float]]) -> str:
    """Text table of a summary, in percent."""
    table = PrettyTable(['system', *METRIC_COLUMNS])
    for name, row in summary.items():
        if name != 'seconds':
            table.add_row([name, *(f'{100 * row[column]:.1f}' for column in METRIC_COLUMNS)])
    table.align, table.align['system'] = 'r', 'l'
    return str(table)


def ground_truth_of(record: dict, classes: ClassInfo) -> VideoPanoptic:
    """Ground truth of a video of the dataset as a panoptic result."""
    maps, labels = ids_and_labels_of(record)
    segments = tuple(Segment(i, 0, label, classes.is_thing[label], score=1.0) for i, label in labels.items())
    return VideoPanoptic(torch.from_numpy(maps), segments, classes)


def match_ids(predicted: np.ndarray, truth: np.ndarray) -> dict[int, int]:
    """Matches predicted ids one to one to ground truth ids by the number of shared pixels over the whole video.

    Args:
        predicted: Predicted id maps (T, H, W); 0 is void.
        truth: Ground truth id maps (T, H, W); 0 is void.

    Returns:
        Predicted id -> ground truth id; unmatched predicted ids are mapped to values above the ground truth ids.
    """
    pred_ids, gt_ids = (np.setdiff1d(np.unique(maps), [0]) for maps in (predicted, truth))
    intersections = [[np.count_nonzero((predicted == p) & (truth == g)) for g in gt_ids] for p in pred_ids]
    intersections = np.array(intersections, int).reshape(len(pred_ids), len(gt_ids))
    gt_id_of = {int(p): int(p) + int(gt_ids.max(initial=0)) for p in pred_ids}
    matched_rows, matched_columns = linear_sum_assignment(-intersections)
    gt_id_of.update(
        {int(pred_ids[r]): int(gt_ids[c]) for r, c in zip(matched_rows, matched_columns) if intersections[r, c]}
    )
    return gt_id_of


def compare_video(model: DVIS, dataset: VIPSegDataset, index: int, out: Path, fps: float = 6.0) -> Path:
    """Writes ``<out>.mp4`` with the prediction on the left and the ground truth on the right, and four frames as a PNG.

    A track has the id and the colour of its matched object, see :func:`match_ids`.

    Args:
        model: Model with a panoptic postprocessor.
        dataset: Dataset in test mode.
        index: Index of the video.
        out: Path without suffix; the image is ``<out>.png``.
        fps: Frames per second of the written video.

    Returns:
        Path of the written video.
    """
    sample = dataset[index]
    source: FrameSource = sample['inputs']
    result = model.predict([source], [sample['data_samples']])[0].pred_panoptic
    classes = ClassInfo.from_meta(dataset.metainfo)
    gt = ground_truth_of(dataset.get_data_info(index), classes)
    gt_id_of = match_ids(result.id_map.numpy(), gt.id_map.numpy())
    id_table = np.zeros(max([0, *gt_id_of]) + 1, np.int32)
    id_table[list(gt_id_of)] = list(gt_id_of.values())
    pred_segments = tuple(
        replace(segment, id=gt_id_of[segment.id]) for segment in result.segments if segment.id in gt_id_of
    )
    renamed = VideoPanoptic(torch.from_numpy(id_table[result.id_map.numpy()]), pred_segments, result.classes)
    visualizer, pairs = ResultVisualizer(classes), []
    with VideoWriter(out.with_suffix('.mp4'), fps) as writer:
        for t in range(len(source)):
            frame = enlarge(source.read(t, t + 1)[0].permute(1, 2, 0).numpy())
            images = [visualizer.draw(frame, enlarged(video, t)) for video in (renamed, gt)]
            pairs.append(np.concatenate(images, 1))
            writer.write(pairs[-1])
    selected_pairs = [np.split(pairs[t], 2, 1) for t in np.linspace(0, len(pairs) - 1, 4).astype(int)]
    sheet = np.concatenate([np.concatenate(row, 1) for row in zip(*selected_pairs)])
    Image.fromarray(np.ascontiguousarray(sheet)).save(out.with_suffix('.png'))
    return out.with_suffix('.mp4')


def enlarged(video: VideoPanoptic, index: int, factor: int = 2) -> FrameResult:
    """Result of one frame, enlarged by ``factor`` so that class names fit into the image."""
    maps = torch.from_numpy(enlarge(video.maps[index].numpy(), factor))[None]
    return replace(video, maps=maps).frame(0)


def enlarge(array: np.ndarray, factor: int = 2) -> np.ndarray:
    """Repeats every pixel ``factor`` times in both directions."""
    return array.repeat(factor, 0).repeat(factor, 1)
