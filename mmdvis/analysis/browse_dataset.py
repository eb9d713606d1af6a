"""Draws the samples of a dataset: clips with their objects, before and after augmentation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmdvis.datasets.base import ClipDataset
from mmdvis.datasets.transforms import PackClip, ids_and_labels_of
from mmdvis.io import VideoWriter, read_image
from mmdvis.visualization import colour_of
from mmdvis.visualization.name_plates import Label, draw_labels
from mmdvis.visualization.visualizer import blend_ids

Frames = list[np.ndarray]
GAP = 6  # pixels between images
MAX_FRAMES = 60  # maximum number of frames drawn from a test video


def draw_clip(clip: np.ndarray, maps: np.ndarray, labels: Sequence[int], classes: Sequence[str]) -> Frames:
    """Draws the objects of a clip onto its frames.

    Args:
        clip: Frames (T, H, W, 3) uint8.
        maps: Index maps (L, T, H, W) as created by ``LoadClip``; objects of later maps are drawn over earlier ones.
        labels: Class label (N,) of each object.
        classes: Class names.
    """
    plates, frames = {k: Label((classes[label],), colour_of(k)) for k, label in enumerate(labels, 1)}, []
    for t, frame in enumerate(np.ascontiguousarray(clip)):
        merged = maps[0, t].astype(np.int32)
        for layer in maps[1:]:
            merged = np.where(layer[t] > 0, layer[t], merged)
        frames.append(draw_labels(blend_ids(frame, merged), merged, plates))
    return frames


def training_clip(dataset: ClipDataset, index: int) -> dict[str, Frames]:
    """Frames ``before`` and ``after`` the augmentation of one training clip, with the same sampled frames."""
    sample, load, *steps = dataset.pipeline.transforms
    results = load(sample(dataset.get_data_info(index)))
    classes = dataset.metainfo['classes']
    clips = dict(before=draw_clip(results['clip'], results['maps'], results['labels'], classes))
    for step in steps:
        if not isinstance(step, PackClip):
            results = step(results)
    return dict(clips, after=draw_clip(results['clip'], results['maps'], results['labels'], classes))


def whole_video(dataset: ClipDataset, index: int) -> dict[str, Frames]:
    """First frames of a test video, with its objects if it is labelled."""
    info, source = dataset.get_data_info(index), dataset[index]['inputs']
    if info.get('path'):
        frames = source.read(0, min(len(source), MAX_FRAMES)).permute(0, 2, 3, 1).numpy()
        return dict(before=list(frames))
    info = dict(info, frames=info['frames'][:MAX_FRAMES])
    clip = np.stack([read_image(frame['image']) for frame in info['frames']])
    if not (info.get('tracks') or any(frame.get('mask') and Path(frame['mask']).is_file() for frame in info['frames'])):
        return dict(before=list(clip))
    ids, labels = ids_and_labels_of(info)
    positions = {number: k for k, number in enumerate(labels, 1)}
    maps = np.vectorize(lambda number: positions.get(number, 0), otypes=[np.int32])(ids)
    return dict(before=draw_clip(clip, maps[None], list(labels.values()), dataset.metainfo['classes']))


def fit_into(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scales a frame to fit into ``size`` (height, width) and centres it on black."""
    scale = min(size[0] / frame.shape[0], size[1] / frame.shape[1])
    height, width = (max(1, round(length * scale)) for length in frame.shape[:2])
    image = np.zeros((*size, 3), np.uint8)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    image[top : top + height, left : left + width] = np.asarray(
        Image.fromarray(frame).resize((width, height), Image.BILINEAR)
    )
    return image


def write_clip(found: dict[str, Frames], path: Path, fps: float = 6.0) -> None:
    """Writes the frame lists side by side as an mp4 video.

    Args:
        found: Title -> frames.
        path: Path of the video.
        fps: Frames per second.
    """
    size = next(iter(found.values()))[0].shape[:2]
    with VideoWriter(path, fps) as writer:
        for frames in zip(*found.values()):
            writer.write(np.concatenate([fit_into(frame, size) for frame in frames], 1))


def contact_sheet(clips: Sequence[tuple[str, dict[str, Frames]]], columns: int = 5, height: int = 150) -> np.ndarray:
    """Image of all clips, with one row for each of ``before`` and ``after`` and one column per sampled frame.

    Args:
        clips: Title and frames of each clip.
        columns: Number of frames per row.
        height: Height of each frame in pixels.

    Returns:
        RGB image (H, W, 3) uint8.
    """
    rows = []
    for title, versions in clips:
        first = next(iter(versions.values()))[0]
        size = height, max(1, round(height * first.shape[1] / first.shape[0]))
        for kind, frames in versions.items():
            sampled = [frames[k] for k in np.linspace(0, len(frames) - 1, columns).round().astype(int)]
            images = [
                np.pad(fit_into(frame, size), ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for frame in sampled
            ]
            rows.append(
                np.concatenate(
                    [title_bar(f'{title}: {kind}', sum(p.shape[1] for p in images)), np.concatenate(images, 1)]
                )
            )
    width = max(row.shape[1] for row in rows)
    return np.concatenate(
        [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    )


def title_bar(text: str, width: int, height: int = 20) -> np.ndarray:
    """Image (height, width, 3) with a line of text."""
    image = Image.new('RGB', (width, height), 'white')
    ImageDraw.Draw(image).text((4, 3), text, fill='black', font=ImageFont.load_default(13))
    return np.asarray(image)
