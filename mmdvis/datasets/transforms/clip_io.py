"""Reads the frames of a clip and packs them for the model."""
from typing import Optional

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from mmdvis.registry import TRANSFORMS
from mmdvis.structures import FileFrames, PrefetchedFrames, ResizedFrames, VideoDataSample, read_image


def read_id_map(path: str) -> np.ndarray:
    """A panoptic PNG as ids (H, W) int32: R + 256 G + 65536 B."""
    rgb = read_image(path).astype(np.int32)
    return rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]


@TRANSFORMS.register_module()
class LoadClip(BaseTransform):
    """Reads the chosen frames (``clip``) and their maps of ids (``id_maps``).

    Raises:
        ValueError: a file is missing or unreadable, or sizes differ within the clip; names it.
    """

    def transform(self, results: dict) -> dict:
        """Adds ``clip`` uint8 (T, H, W, 3), ``id_maps`` int32 (T, H, W), ``ids`` and ``labels`` (N,)."""
        frames = [results['frames'][index] for index in results['frame_indices']]
        images = [read_image(frame['image']) for frame in frames]
        maps = [read_id_map(frame['mask']) for frame in frames]
        for frame, image, id_map in zip(frames, images, maps):
            if not image.shape[:2] == id_map.shape == images[0].shape[:2]:
                raise ValueError(
                    f"{frame['image']} is {image.shape[:2]} (height, width), its mask {frame['mask']} {id_map.shape} and the "
                    f'first frame of the clip {images[0].shape[:2]}; all must have one size')
        labels = {}
        for frame in frames:
            for segment_id, label in frame['segments'].items():
                labels.setdefault(segment_id, label)  # the first mention wins
        return dict(results, clip=np.stack(images), id_maps=np.stack(maps), ids=np.array(list(labels), np.int64),
                    labels=np.array(list(labels.values()), np.int64))


@TRANSFORMS.register_module()
class PackClip(BaseTransform):
    """A training sample: ``inputs`` uint8 (T, 3, H, W) and a video data sample with one id map a frame."""

    def transform(self, results: dict) -> dict:
        """Packs what the transforms before left."""
        sample = VideoDataSample(metainfo=dict(
            video_id=results['video_id'], frame_indices=tuple(results['frame_indices'])))
        for name, field in (('gt_id_map', 'id_maps'), ('gt_ids', 'ids'), ('gt_labels', 'labels')):
            sample.set_field(torch.from_numpy(np.ascontiguousarray(results[field])), name)
        clip = torch.from_numpy(np.ascontiguousarray(results['clip'].transpose(0, 3, 1, 2)))
        return dict(inputs=clip, data_samples=sample)


@TRANSFORMS.register_module()
class OpenVideo(BaseTransform):
    """A test sample: ``inputs`` is a source of frames, nothing is decoded yet.

    Args:
        short_edge: length of the short edge the model sees; None keeps the size.
        max_edge: limit of the long edge.
        prefetch: read the next window in a thread while the model works on this one.
    """

    def __init__(self, short_edge: Optional[int] = None, max_edge: Optional[int] = None, prefetch: bool = True) -> None:
        self.short_edge, self.max_edge, self.prefetch = short_edge, max_edge, prefetch

    def transform(self, results: dict) -> dict:
        """Opens the video."""
        source = FileFrames([frame['image'] for frame in results['frames']])
        if self.short_edge is not None:
            source = ResizedFrames(source, self.short_edge, self.max_edge)
        if self.prefetch:
            source = PrefetchedFrames(source)
        names = tuple(frame['name'] for frame in results['frames'])
        sample = VideoDataSample(metainfo=dict(video_id=results['video_id'], frame_names=names))
        return dict(inputs=source, data_samples=sample)
