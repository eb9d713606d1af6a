"""Tables and pictures of where panoptic results lose their score."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mmdvis.evaluation.files.panoptic_files import FrameFiles, PanopticFiles, read_ids
from mmdvis.evaluation.files.scoring import FLAVOURS, class_figures, video_tables, vpq_figures
from mmdvis.evaluation.functional.error_breakdown import ERROR_KINDS, VideoErrors, find_errors
from mmdvis.evaluation.functional.vpq import WindowCounts, count_video
from mmdvis.visualization import colour_of

ERROR_COLOURS = dict(right=(60, 120, 60), switched=(230, 160, 0), missed=(200, 30, 30), false=(150, 60, 200))
ERROR_COLOURS['class'] = (30, 110, 220)
VOID_COLOUR, LEGEND, MIN_WIDTH = (0, 0, 0), 14, 800


@dataclass(frozen=True)
class VideoAnalysis:
    """What is known of one video.

    Attributes:
        counts: window length -> counts.
        vpq: in [0, 1], the mean over the windows that the video is long enough for; NaN where nothing is to be found.
        errors: where they were lost.
    """

    counts: dict[int, WindowCounts]
    vpq: float
    errors: VideoErrors

    def row(self) -> dict[str, float]:
        """VPQ, identity switches, and the share of each kind of error in all pixels that count."""
        pixels = self.errors.pixels
        total = max(sum(pixels[kind] for kind in ERROR_KINDS if kind != 'false'), 1)
        return dict(VPQ=self.vpq, switches=self.errors.switches, **{kind: pixels[kind] / total for kind in ERROR_KINDS})


def analyse(flavour: str, files: PanopticFiles, watch: Callable = iter) -> dict[str, VideoAnalysis]:
    """Every video of a set; ``watch`` may show progress."""
    kind, found = FLAVOURS[flavour], {}
    for name, frames in watch(list(files.videos.items())):
        tables = video_tables(frames, files.truth.is_thing, kind.rules.merge_repeated)
        counts = count_video(tables, list(kind.windows.values()), kind.rules)
        figures = vpq_figures(counts, files.truth.is_thing, kind)
        windows = [figures[window] for window in kind.averaged if not np.isnan(figures[window])]
        found[name] = VideoAnalysis(counts, float(np.mean(windows)) if windows else float('nan'), find_errors(tables))
    return found


def per_class_figures(
    flavour: str, files: PanopticFiles, videos: dict[str, VideoAnalysis]
) -> dict[str, dict[str, float]]:
    """Name of each class -> PQ of each window, over all videos."""
    kind = FLAVOURS[flavour]
    total = {k: sum((video.counts[k] for video in videos.values()), WindowCounts()) for k in kind.windows.values()}
    return class_figures(total, files.truth, kind)


def worst_first(videos: dict[str, VideoAnalysis]) -> list[str]:
    """The names of videos by rising VPQ; those without one go last."""
    return sorted(videos, key=lambda name: np.nan_to_num(videos[name].vpq, nan=2.0))


def draw_errors(frames: Sequence[FrameFiles], errors: VideoErrors, columns: int = 6) -> Image.Image:
    """A sheet of some frames of a video: truth, prediction, and the kind of error of every pixel, with a legend."""
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
    """Truth, prediction and errors of frame ``t`` as pictures (H, W, 3) uint8."""
    truth, predicted, verdict = read_ids(frame.truth.path), read_ids(frame.predicted), errors.frames[t]
    wrong = colour_ids(truth, {g: ERROR_COLOURS[kind] for g, kind in verdict.truth.items()})
    wrong[np.isin(predicted, verdict.false)] = ERROR_COLOURS['false']
    return [colour_ids(ids, {int(i): colour_of(int(i)) for i in np.unique(ids) if i}) for ids in (truth, predicted)] + [
        wrong
    ]


def colour_ids(ids: np.ndarray, colours: dict[int, Sequence[int]]) -> np.ndarray:
    """A picture (H, W, 3) uint8 of ids (H, W); what has no colour is black."""
    names, place = np.unique(ids, return_inverse=True)
    table = np.array([colours.get(int(i), VOID_COLOUR) for i in names], np.uint8)
    return table[place.reshape(ids.shape)]


def write_worst(files: PanopticFiles, videos: dict[str, VideoAnalysis], folder: Path, number: int) -> list[Path]:
    """Writes the sheets of the worst videos; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for rank, name in enumerate(worst_first(videos)[:number]):
        paths.append(folder / f'{rank:02d}_{Path(name).name}.png')
        draw_errors(files.videos[name], videos[name].errors).save(paths[-1])
    return paths
