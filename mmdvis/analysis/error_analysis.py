"""Tables and images of the errors of panoptic results."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mmdvis.evaluation.files.panoptic_files import FrameFiles, PanopticFiles
from mmdvis.evaluation.files.pngs import read_ids
from mmdvis.evaluation.files.scoring import FLAVOURS, class_figures, video_tables, vpq_figures
from mmdvis.evaluation.functional.error_breakdown import ERROR_KINDS, VideoErrors, find_errors
from mmdvis.evaluation.functional.frame_table import FrameTable
from mmdvis.evaluation.functional.vpq import WindowCounts, count_video
from mmdvis.visualization import colour_of

ERROR_COLOURS = dict(right=(60, 120, 60), switched=(230, 160, 0), missed=(200, 30, 30), false=(150, 60, 200))
ERROR_COLOURS['class'] = (30, 110, 220)
VOID_COLOUR, LEGEND, MIN_WIDTH = (0, 0, 0), 14, 800


@dataclass(frozen=True)
class VideoAnalysis:
    """Counts and errors of one video.

    Attributes:
        counts: Window length -> counts.
        vpq: Mean in [0, 1] over the windows that are not longer than the video; NaN if the video has no class to
            evaluate.
        errors: Errors of the video.
        tables: Frame tables of the video.
    """

    counts: dict[int, WindowCounts]
    vpq: float
    errors: VideoErrors
    tables: Sequence[FrameTable]

    def row(self) -> dict[str, float]:
        """VPQ, number of identity switches, and the fraction of pixels of each error kind.

        The fractions are relative to the pixels of all ground-truth segments.
        """
        pixels = self.errors.pixels
        total = max(sum(pixels[kind] for kind in ERROR_KINDS if kind != 'false'), 1)
        return dict(VPQ=self.vpq, switches=self.errors.switches, **{kind: pixels[kind] / total for kind in ERROR_KINDS})


def analyse(flavour: str, files: PanopticFiles, watch: Callable = iter) -> dict[str, VideoAnalysis]:
    """Analyses each video of a dataset.

    Args:
        flavour: Key of ``FLAVOURS``.
        files: Ground truth and predictions.
        watch: Wraps the videos; can display progress.
    """
    kind, analyses = FLAVOURS[flavour], {}
    for name, frames in watch(list(files.videos.items())):
        tables = video_tables(frames, files.truth.is_thing, kind.rules.merge_repeated)
        counts = count_video(tables, list(kind.windows.values()), kind.rules)
        figures = vpq_figures(counts, files.truth.is_thing, kind)
        windows = [figures[window] for window in kind.averaged if not np.isnan(figures[window])]
        analyses[name] = VideoAnalysis(
            counts, float(np.mean(windows)) if windows else float('nan'), find_errors(tables), tables
        )
    return analyses


def per_class_figures(
    flavour: str, files: PanopticFiles, videos: dict[str, VideoAnalysis]
) -> dict[str, dict[str, float]]:
    """Name of each class -> PQ of each window, over all videos."""
    kind = FLAVOURS[flavour]
    total = {k: sum((video.counts[k] for video in videos.values()), WindowCounts()) for k in kind.windows.values()}
    return class_figures(total, files.truth, kind)


def worst_first(videos: dict[str, VideoAnalysis]) -> list[str]:
    """Names of the videos sorted by ascending VPQ; videos without VPQ are last."""
    return sorted(videos, key=lambda name: np.nan_to_num(videos[name].vpq, nan=2.0))


def draw_errors(frames: Sequence[FrameFiles], errors: VideoErrors, columns: int = 6) -> Image.Image:
    """Draws sampled frames of a video: ground truth, prediction and the error kind of each pixel, with a legend."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(columns, len(frames))).astype(int))
    sheet = np.concatenate([np.concatenate(error_rows(frames[t], errors, t)) for t in chosen], 1)
    scale = max(1, MIN_WIDTH // sheet.shape[1])
    sheet = sheet.repeat(scale, 0).repeat(scale, 1)
    image = Image.new('RGB', (sheet.shape[1], sheet.shape[0] + LEGEND))
    image.paste(Image.fromarray(sheet), (0, LEGEND))
    draw, left = ImageDraw.Draw(image), 2
    for kind in ERROR_KINDS:
        draw.text((left, 1), kind, fill=ERROR_COLOURS[kind])
        left += 8 + int(draw.textlength(kind))
    return image


def error_rows(frame: FrameFiles, errors: VideoErrors, t: int) -> list[np.ndarray]:
    """Ground truth, prediction and errors of frame ``t`` as images (H, W, 3) uint8."""
    gt_ids, predicted_ids, frame_errors = read_ids(frame.truth.path), read_ids(frame.predicted), errors.frames[t]
    error_map = colour_ids(gt_ids, {g: ERROR_COLOURS[kind] for g, kind in frame_errors.truth.items()})
    error_map[np.isin(predicted_ids, frame_errors.false)] = ERROR_COLOURS['false']
    return [
        colour_ids(ids, {int(i): colour_of(int(i)) for i in np.unique(ids) if i}) for ids in (gt_ids, predicted_ids)
    ] + [error_map]


def colour_ids(ids: np.ndarray, colours: dict[int, Sequence[int]]) -> np.ndarray:
    """Colours ids (H, W) as an image (H, W, 3) uint8; ids without a colour are black."""
    unique_ids, positions = np.unique(ids, return_inverse=True)
    table = np.array([colours.get(int(i), VOID_COLOUR) for i in unique_ids], np.uint8)
    return table[positions.reshape(ids.shape)]


def write_worst(files: PanopticFiles, videos: dict[str, VideoAnalysis], folder: Path, number: int) -> list[Path]:
    """Writes the images of the ``number`` worst videos; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for rank, name in enumerate(worst_first(videos)[:number]):
        paths.append(folder / f'{rank:02d}_{Path(name).name}.png')
        draw_errors(files.videos[name], videos[name].errors).save(paths[-1])
    return paths
