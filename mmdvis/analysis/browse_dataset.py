"""Shows what a dataset gives a model: clips with their objects drawn in, before and after augmentation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmdvis.datasets.base import ClipDataset
from mmdvis.datasets.transforms import PackClip, id_maps_of, labels_of
from mmdvis.io import VideoWriter, read_image
from mmdvis.visualization.visualizer import blend_ids, write_labels

Frames = list[np.ndarray]
GAP = 6  # pixels between pictures
MAX_FRAMES = 60  # of a test video that is shown


def draw_clip(clip: np.ndarray, maps: np.ndarray, labels: Sequence[int], classes: Sequence[str]) -> Frames:
    """Frames with their objects.

    Args:
        clip (T, H, W, 3): uint8.
        maps (L, T, H, W): indices as ``LoadClip`` makes them; an object of a later map is drawn over the others.
        labels (N,): of the objects.
        classes: names.
    """
    names, frames = {k: classes[label] for k, label in enumerate(labels, 1)}, []
    for t, frame in enumerate(np.ascontiguousarray(clip)):
        merged = maps[0, t].astype(np.int32)
        for layer in maps[1:]:
            merged = np.where(layer[t] > 0, layer[t], merged)
        frames.append(write_labels(blend_ids(frame, merged), merged, names))
    return frames


def training_clip(dataset: ClipDataset, index: int) -> dict[str, Frames]:
    """``before`` and ``after`` the augmentation of one training clip, both of the same draw of frames."""
    sample, load, *steps = dataset.pipeline.transforms
    results = load(sample(dataset.get_data_info(index)))
    classes = dataset.metainfo['classes']
    found = dict(before=draw_clip(results['clip'], results['maps'], results['labels'], classes))
    for step in steps:
        if not isinstance(step, PackClip):
            results = step(results)
    return dict(found, after=draw_clip(results['clip'], results['maps'], results['labels'], classes))


def whole_video(dataset: ClipDataset, index: int) -> dict[str, Frames]:
    """The first frames of a test video, with its labels if it has any."""
    info, source = dataset.get_data_info(index), dataset[index]['inputs']
    if info.get('path'):
        shown = source.read(0, min(len(source), MAX_FRAMES)).permute(0, 2, 3, 1).numpy()
        return dict(before=list(shown))
    info = dict(info, frames=info['frames'][:MAX_FRAMES])
    clip = np.stack([read_image(frame['image']) for frame in info['frames']])
    if not (info.get('tracks') or any(frame.get('mask') and Path(frame['mask']).is_file() for frame in info['frames'])):
        return dict(before=list(clip))
    labels = labels_of(info)
    ids = id_maps_of(info)
    place = {number: k for k, number in enumerate(labels, 1)}
    maps = np.vectorize(lambda number: place.get(number, 0), otypes=[np.int32])(ids)
    return dict(before=draw_clip(clip, maps[None], list(labels.values()), dataset.metainfo['classes']))


def fit_into(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A frame scaled to fit into ``size`` (height, width), in the middle of black."""
    scale = min(size[0] / frame.shape[0], size[1] / frame.shape[1])
    height, width = (max(1, round(length * scale)) for length in frame.shape[:2])
    image = np.zeros((*size, 3), np.uint8)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    image[top : top + height, left : left + width] = np.asarray(
        Image.fromarray(frame).resize((width, height), Image.BILINEAR)
    )
    return image


def write_clip(found: dict[str, Frames], path: Path, fps: float = 6.0) -> None:
    """An mp4 with what was found side by side."""
    size = next(iter(found.values()))[0].shape[:2]
    with VideoWriter(path, fps) as writer:
        for frames in zip(*found.values()):
            writer.write(np.concatenate([fit_into(frame, size) for frame in frames], 1))


def contact_sheet(clips: Sequence[tuple[str, dict[str, Frames]]], columns: int = 5, height: int = 150) -> np.ndarray:
    """A picture of all clips: a row for each of ``before`` and ``after``, a column for each of some frames.

    Args:
        clips: title and frames of each.
        columns: frames shown; height: of each in pixels.

    Returns:
        (H, W, 3) uint8.
    """
    rows = []
    for title, found in clips:
        first = next(iter(found.values()))[0]
        size = height, max(1, round(height * first.shape[1] / first.shape[0]))
        for kind, frames in found.items():
            chosen = [frames[k] for k in np.linspace(0, len(frames) - 1, columns).round().astype(int)]
            pictures = [
                np.pad(fit_into(frame, size), ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for frame in chosen
            ]
            rows.append(
                np.concatenate(
                    [title_bar(f'{title}: {kind}', sum(p.shape[1] for p in pictures)), np.concatenate(pictures, 1)]
                )
            )
    width = max(row.shape[1] for row in rows)
    return np.concatenate(
        [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    )


def title_bar(text: str, width: int, height: int = 20) -> np.ndarray:
    """A line of text (height, width, 3)."""
    image = Image.new('RGB', (width, height), 'white')
    ImageDraw.Draw(image).text((4, 3), text, fill='black', font=ImageFont.load_default(13))
    return np.asarray(image)
