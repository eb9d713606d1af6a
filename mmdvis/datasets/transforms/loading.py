"""Reads the frames of a clip and packs them for the model."""

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from mmdvis.errors import DataError
from mmdvis.io import FileFrames, PrefetchedFrames, ResizedFrames, open_frames, read_image
from mmdvis.registry import TRANSFORMS
from mmdvis.structures import VideoDataSample

from .ground_truth import ANNOTATION_READERS, frame_location, with_frame_location

Loaded = tuple[np.ndarray, list[np.ndarray]]


@TRANSFORMS.register_module()
class LoadClip(BaseTransform):
    """Reads the chosen frames (``clip``) and the maps of their objects (``maps``).

    Args:
        on_error: ``'raise'``, or ``'repeat'``: a frame that cannot be used is replaced by the nearest of the video that can, with
            its objects, and noted in ``problems``. Of frames of several sizes the most frequent size is right.

    Raises:
        DataError: a file is missing or unreadable, sizes differ, or files contradict each other; names file, video, frame.
    """

    def __init__(self, on_error: str = 'raise') -> None:
        self.on_error = on_error

    def transform(self, results: dict) -> dict:
        """Adds ``clip`` uint8 (T, H, W, 3), ``maps`` (L, T, H, W), ``ids`` and ``labels`` (N,), ``problems``."""
        bad: dict[int, DataError] = {}
        while True:
            indices = [self.replaced(results, index, bad) for index in results['frame_indices']]
            reader, number = ANNOTATION_READERS[results['truth']](results, sorted(set(indices))), len(bad)
            loaded = {
                index: frame for index in sorted(set(indices)) if (frame := self.attempt(results, index, reader, bad))
            }
            self.same_size(results, loaded, bad)
            if len(bad) == number:
                break
        chosen = [loaded[index] for index in indices]
        depth = max(len(layers) for _, layers in chosen)
        empty = np.zeros_like(chosen[0][1][0])
        maps = np.stack(
            [np.stack([layers[k] if k < len(layers) else empty for _, layers in chosen]) for k in range(depth)]
        )
        return dict(
            results,
            frame_indices=indices,
            clip=np.stack([image for image, _ in chosen]),
            maps=maps,
            ids=reader.ids,
            labels=reader.labels,
            problems=[*results.get('problems', ()), *map(str, bad.values())],
        )

    @staticmethod
    def replaced(results: dict, index: int, bad: dict[int, DataError]) -> int:
        """The frame itself, or the nearest of the video that is not known to be bad."""
        rest = [other for other in range(len(results['frames'])) if other not in bad]
        if not rest:
            raise DataError(f'video {results["video_id"]}: no frame of it can be used: {next(iter(bad.values()))}')
        return min(rest, key=lambda other: abs(other - index))

    def attempt(self, results: dict, index: int, reader: object, bad: dict[int, DataError]) -> Loaded | None:
        """A frame and its maps, or None where it is bad and may be replaced."""
        try:
            return self.load(results, index, reader)
        except DataError as error:
            self.note(bad, index, with_frame_location(results, results['frames'][index], error))
            return None

    def note(self, bad: dict[int, DataError], index: int, error: DataError) -> None:
        """Keeps or raises an error."""
        if self.on_error == 'raise':
            raise error from None
        bad[index] = error

    def same_size(self, results: dict, loaded: dict[int, Loaded], bad: dict[int, DataError]) -> None:
        """Notes frames of another size than most."""
        sizes = Counter(image.shape[:2] for image, _ in loaded.values())
        if len(sizes) > 1:
            size = sizes.most_common(1)[0][0]
            for index, (image, _) in loaded.items():
                if image.shape[:2] != size:
                    self.note(bad, index, size_error(results, results['frames'][index], image.shape[:2], size))

    @staticmethod
    def load(results: dict, index: int, reader: object) -> Loaded:
        """One frame and its maps, which must have one size."""
        frame = results['frames'][index]
        image = read_image(frame['image'])
        check_size(results, frame, image.shape[:2], None)
        layers = reader.layers(index)
        if layers[0].shape != image.shape[:2]:
            raise DataError(
                f'{frame_location(results, frame)}: {frame["image"]} is {image.shape[:2]} (height, width), its mask '
                f'{frame["mask"]} is {layers[0].shape}; both must have one size'
            )
        return image, layers


def size_error(results: dict, frame: dict, found: tuple[int, int], size: tuple[int, int]) -> DataError:
    """What to say of a frame of another size."""
    return DataError(
        f'{frame_location(results, frame)}: {frame["image"]} is {tuple(found)} (height, width), other frames of the video '
        f'are {tuple(size)}; all must have one size'
    )


def check_size(results: dict, frame: dict, found: tuple[int, int], size: tuple[int, int] | None) -> None:
    """Raises DataError where a frame has another size than the official file or the first frame says."""
    said = frame.get('size') or results['size']
    if said and tuple(said) != tuple(found):
        raise DataError(
            f'{frame_location(results, frame)}: {frame["image"]} is {tuple(found)} (height, width), {results["origin"]} '
            f'says {tuple(said)}'
        )
    if size and tuple(size) != tuple(found):
        raise size_error(results, frame, found, size)


@TRANSFORMS.register_module()
class PackClip(BaseTransform):
    """A training sample: ``inputs`` uint8 (T, 3, H, W) and a video data sample with maps of indices.

    Args:
        ignore_void: compare no mask where a dataset with maps of all pixels has no label or a crowd. Default: void is a place
            where no object is, as the official code has it.
    """

    def __init__(self, ignore_void: bool = False) -> None:
        self.ignore_void = ignore_void

    def transform(self, results: dict) -> dict:
        """Packs what the transforms before left; objects that they cut away are gone."""
        maps, ids, labels = visible_objects(results['maps'], results['ids'], results['labels'])
        ignore = self.ignore_void and results['truth'] != 'tracks'
        sample = VideoDataSample(
            metainfo=dict(
                video_id=results['video_id'],
                frame_indices=tuple(results['frame_indices']),
                ignore_void=ignore,
                problems=tuple(results.get('problems', ())),
            )
        )
        for name, value in (('gt_index_maps', maps), ('gt_ids', ids), ('gt_labels', labels)):
            sample.set_field(torch.from_numpy(np.ascontiguousarray(value)), name)
        clip = torch.from_numpy(np.ascontiguousarray(results['clip'].transpose(0, 3, 1, 2)))
        return dict(inputs=clip, data_samples=sample)


def visible_objects(maps: np.ndarray, ids: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Maps (L, T, H, W), ids and labels of the objects that have a pixel."""
    seen = np.zeros(len(ids) + 1, bool)
    for layer in maps.reshape(-1, *maps.shape[2:]):
        seen |= np.bincount(layer.ravel(), minlength=len(seen)) > 0
    kept = np.flatnonzero(seen[1:])
    if len(kept) == len(ids):
        return maps, ids, labels
    table = np.zeros(len(seen), maps.dtype)
    table[kept + 1] = np.arange(1, len(kept) + 1)
    return table[maps], ids[kept], labels[kept]


@TRANSFORMS.register_module()
class OpenVideo(BaseTransform):
    """A test sample: ``inputs`` is a source of frames, nothing but the first is decoded yet.

    Args:
        short_edge: length of the short edge the model sees; None keeps the size.
        max_edge: limit of the long edge.
        prefetch: read the next window in a thread while the model works on this one.
        on_error: ``'raise'``, or ``'repeat'``: see :class:`FileFrames`.
    """

    def __init__(
        self, short_edge: int | None = None, max_edge: int | None = None, prefetch: bool = True, on_error: str = 'raise'
    ) -> None:
        self.short_edge, self.max_edge, self.prefetch = short_edge, max_edge, prefetch
        self.on_error = on_error

    def transform(self, results: dict) -> dict:
        """Opens the video."""
        if results.get('path'):
            source = open_frames(Path(results['path']))
            results = dict(results, frames=[dict(name=f'{k:08d}.png') for k in range(len(source))])
        else:
            source = FileFrames([frame['image'] for frame in results['frames']], results.get('fps'), self.on_error)
            check_size(results, results['frames'][0], source.size, None)
        if self.short_edge is not None:
            source = ResizedFrames(source, self.short_edge, self.max_edge)
        if self.prefetch:
            source = PrefetchedFrames(source)
        names = tuple(frame['name'] for frame in results['frames'])
        sample = VideoDataSample(
            metainfo=dict(
                video_id=results['video_id'],
                frame_names=names,
                **({'submit': tuple(results['submit'])} if 'submit' in results else {}),
            )
        )
        return dict(inputs=source, data_samples=sample)
