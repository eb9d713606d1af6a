"""Transforms that load the frames and ground truth of a clip, pack them for the model, and open test videos."""

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from mmdvis.errors import DataError
from mmdvis.io import FileFrames, PrefetchedFrames, ResizedFrames, open_frames, read_image
from mmdvis.registry import TRANSFORMS
from mmdvis.results import VideoDataSample

from .ground_truth import ANNOTATION_READERS, frame_location, layers_of, read_class_map, with_frame_location

Loaded = tuple[np.ndarray, list[np.ndarray], np.ndarray | None]  # image, index maps, class labels


@TRANSFORMS.register_module()
class LoadClip(BaseTransform):
    """Loads the sampled frames (``clip``), their index maps (``maps``) and, where given, class labels (``semantic``).

    A frame that is not ``annotated``, such as the neighbour of an image, has no objects.

    Args:
        on_error: ``'raise'``, or ``'repeat'`` to replace an unusable frame and its ground truth by the nearest usable
            frame of the video and report it in ``problems``. If the frames have different sizes, those of the most
            frequent size are usable.

    Raises:
        DataError: A file is missing, unreadable or inconsistent, or sizes differ. The message contains file, video and
            frame.
    """

    def __init__(self, on_error: str = 'raise') -> None:
        self.on_error = on_error

    def transform(self, results: dict) -> dict:
        """Add ``clip`` uint8 (T, H, W, 3), ``maps`` (L, T, H, W), ``ids`` and ``labels`` (N,), ``problems``.

        If the frames have class maps, ``semantic`` uint8 (T, H, W) has their labels, ``VOID`` where unknown.
        """
        bad: dict[int, DataError] = {}
        while True:
            indices = [self.replaced(results, index, bad) for index in results['frame_indices']]
            reader, num_bad = ANNOTATION_READERS[results['truth']](results, sorted(set(indices))), len(bad)
            loaded = {
                index: frame for index in sorted(set(indices)) if (frame := self.attempt(results, index, reader, bad))
            }
            self.same_size(results, loaded, bad)
            if len(bad) == num_bad:
                break
        frames = [loaded[index] for index in indices]
        num_layers = max(len(layers) for _, layers, _ in frames)
        empty = np.zeros_like(frames[0][1][0])
        maps = np.stack(
            [np.stack([layers[k] if k < len(layers) else empty for _, layers, _ in frames]) for k in range(num_layers)]
        )
        class_maps = [labels for _, _, labels in frames if labels is not None]
        return dict(
            results,
            frame_indices=indices,
            clip=np.stack([image for image, _, _ in frames]),
            maps=maps,
            **({'semantic': np.stack(class_maps)} if class_maps else {}),
            ids=reader.ids,
            labels=reader.labels,
            problems=[*results.get('problems', ()), *map(str, bad.values())],
        )

    @staticmethod
    def replaced(results: dict, index: int, bad: dict[int, DataError]) -> int:
        """Index of the nearest frame that is not in ``bad``.

        Raises:
            DataError: All frames of the video are unusable.
        """
        candidates = [other for other in range(len(results['frames'])) if other not in bad]
        if not candidates:
            raise DataError(
                f'video {results["video_id"]}: no frame can be used; first error: {next(iter(bad.values()))}'
            )
        return min(candidates, key=lambda other: abs(other - index))

    def attempt(self, results: dict, index: int, reader: object, bad: dict[int, DataError]) -> Loaded | None:
        """Load a frame and its maps; returns None if it is unusable and is to be replaced."""
        try:
            return self.load(results, index, reader)
        except DataError as error:
            self.note(bad, index, with_frame_location(results, results['frames'][index], error))
            return None

    def note(self, bad: dict[int, DataError], index: int, error: DataError) -> None:
        """Raise an error, or add it to ``bad``, depending on ``on_error``."""
        if self.on_error == 'raise':
            raise error from None
        bad[index] = error

    def same_size(self, results: dict, loaded: dict[int, Loaded], bad: dict[int, DataError]) -> None:
        """Treat frames that do not have the most frequent size as unusable."""
        sizes = Counter(image.shape[:2] for image, *_ in loaded.values())
        if len(sizes) > 1:
            size = sizes.most_common(1)[0][0]
            for index, (image, *_) in loaded.items():
                if image.shape[:2] != size:
                    self.note(bad, index, size_error(results, results['frames'][index], image.shape[:2], size))

    @staticmethod
    def load(results: dict, index: int, reader: object) -> Loaded:
        """Load a frame and its maps, which must have the same size.

        Raises:
            DataError: A file is missing, unreadable or inconsistent, or the sizes differ.
        """
        frame = results['frames'][index]
        image = read_image(frame['image'])
        check_size(results, frame, image.shape[:2], None)
        size = image.shape[:2]
        labels = read_class_map(results, frame) if frame.get('semantic') else None
        layers = layers_of(reader, frame, index, size)
        for path, found in ((frame.get('mask'), layers[0]), (frame.get('semantic'), labels)):
            if found is not None and found.shape != size:
                raise DataError(
                    f'{frame_location(results, frame)}: {frame["image"]} is {size} (height, width), but its mask '
                    f'{path} is {found.shape}; both must have the same size'
                )
        return image, layers, labels


def size_error(results: dict, frame: dict, found: tuple[int, int], size: tuple[int, int]) -> DataError:
    """Error for a frame whose size differs from that of other frames.

    Args:
        results: Record of the video.
        frame: Record of the frame.
        found: (height, width) of the frame.
        size: (height, width) of the other frames.
    """
    return DataError(
        f'{frame_location(results, frame)}: {frame["image"]} is {tuple(found)} (height, width), but other frames '
        f'of the video are {tuple(size)}; all must have the same size'
    )


def check_size(results: dict, frame: dict, found: tuple[int, int], size: tuple[int, int] | None) -> None:
    """Check the size of a frame.

    Args:
        results: Record of the video.
        frame: Record of the frame.
        found: (height, width) of the frame.
        size: (height, width) of other frames of the video, None if unknown.

    Raises:
        DataError: The size differs from the annotation file or from other frames.
    """
    annotated_size = frame.get('size') or results['size']
    if annotated_size and tuple(annotated_size) != tuple(found):
        raise DataError(
            f'{frame_location(results, frame)}: {frame["image"]} is {tuple(found)} (height, width), but '
            f'{tuple(annotated_size)} in {results["origin"]}'
        )
    if size and tuple(size) != tuple(found):
        raise size_error(results, frame, found, size)


@TRANSFORMS.register_module()
class PackClip(BaseTransform):
    """Packs a training sample: ``inputs`` uint8 (T, 3, H, W) and a ``VideoDataSample`` with index maps.

    Args:
        ignore_void: Exclude void and crowd pixels from the mask losses. Only for datasets with dense annotations, not
            for tracks. By default, void pixels belong to no object, as in the official code.
    """

    def __init__(self, ignore_void: bool = False) -> None:
        self.ignore_void = ignore_void

    def transform(self, results: dict) -> dict:
        """Pack the clip and the objects that are still visible after the geometric transforms."""
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
        if 'semantic' in results:
            sample.set_field(torch.from_numpy(np.ascontiguousarray(results['semantic'])), 'gt_semantic')
        if 'flows' in results:
            sample.set_field(torch.from_numpy(np.ascontiguousarray(results['flows'], np.float32)), 'flows')
        clip = torch.from_numpy(np.ascontiguousarray(results['clip'].transpose(0, 3, 1, 2)))
        return dict(inputs=clip, data_samples=sample)


def visible_objects(maps: np.ndarray, ids: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Select the objects with at least one pixel.

    Args:
        maps: Index maps (L, T, H, W).
        ids: Id (N,) of each object.
        labels: Label (N,) of each object.

    Returns:
        Renumbered maps (L, T, H, W), ids (M,) and labels (M,) of the visible objects.
    """
    is_visible = np.zeros(len(ids) + 1, bool)
    for layer in maps.reshape(-1, *maps.shape[2:]):
        is_visible |= np.bincount(layer.ravel(), minlength=len(is_visible)) > 0
    kept = np.flatnonzero(is_visible[1:])
    if len(kept) == len(ids):
        return maps, ids, labels
    table = np.zeros(len(is_visible), maps.dtype)
    table[kept + 1] = np.arange(1, len(kept) + 1)
    return table[maps], ids[kept], labels[kept]


@TRANSFORMS.register_module()
class OpenVideo(BaseTransform):
    """Packs a test sample, whose ``inputs`` is a frame source of which only the first frame is decoded.

    Args:
        short_edge: Length of the short edge of the model input, in pixels. None keeps the size.
        max_edge: Maximum length of the long edge, in pixels. None disables the limit.
        prefetch: Read the next window in a background thread.
        on_error: ``'raise'`` or ``'repeat'``, see :class:`FileFrames`.
    """

    def __init__(
        self, short_edge: int | None = None, max_edge: int | None = None, prefetch: bool = True, on_error: str = 'raise'
    ) -> None:
        self.short_edge, self.max_edge, self.prefetch = short_edge, max_edge, prefetch
        self.on_error = on_error

    def transform(self, results: dict) -> dict:
        """Open the frame source of the video."""
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
                **({'warmup': results['warmup']} if results.get('warmup') else {}),
            )
        )
        return dict(inputs=source, data_samples=sample)
