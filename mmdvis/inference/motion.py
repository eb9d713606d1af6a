"""Moves the result of one frame to another one along the optical flow."""

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch

from mmdvis.io import short_edge_size
from mmdvis.models import DISFlow
from mmdvis.results import FrameResult, SegmentedObject, map_objects, mask_object

INCONSISTENT = 1.0, 0.05  # pixels, and share of the motion, by which the flow there and back may differ
UNLIKE = 20.0  # grey levels by which the surroundings of a pixel may differ from those it comes from
SURROUNDINGS = 5  # pixels
SHORT_EDGE = 360  # pixels; the motion of larger frames is estimated at this size
MAX_UPSCALE = 2.0  # smaller frames are enlarged to this size, at most by this factor, to estimate the flow
SMALLEST = 0.0005  # share of the frame; smaller objects are not checked


@dataclass(frozen=True, eq=False)
class Motion:
    """Correspondences between the pixels of two frames.

    Attributes:
        places: x and y in the other frame (H, W) float32 of every pixel.
        is_seen: Whether the pixel is visible in the other frame (H, W) bool.
        is_kept: Whether a pixel of the other frame is visible in the frame (H, W) bool.
    """

    places: tuple[np.ndarray, np.ndarray]
    is_seen: np.ndarray
    is_kept: np.ndarray

    def confidence(self, result: FrameResult) -> float:
        """Smallest share of visible pixels, in [0, 1]: of the frame, and of each object in the other frame.

        Args:
            result: Result of the other frame.
        """
        shares = [float(self.is_seen.mean())]
        index = result.index_map()
        areas = np.bincount(index.ravel(), minlength=len(result.objects) + 1)
        kept = np.bincount(index.ravel(), self.is_kept.ravel(), minlength=len(result.objects) + 1)
        for k, segment in enumerate(result.objects, 1):
            if segment.is_thing and areas[k] > SMALLEST * index.size:
                shares.append(float(kept[k] / areas[k]))
        return min(shares)


def estimate_motion(frame: np.ndarray, other: np.ndarray) -> Motion:
    """Estimates the motion from a frame into another one of the same size, by dense inverse search (DIS).

    The flow is estimated at a short edge of 360 pixels, or at twice the size of smaller frames. A pixel is visible in
    the other frame if the flow there and back agree and the surroundings look alike.

    Args:
        frame: The frame (H, W, 3) uint8.
        other: The other frame (H, W, 3) uint8.
    """
    size = frame.shape[:2]
    small = short_edge_size(size, min(SHORT_EDGE, *size))
    flow = DISFlow(input_scale=min(MAX_UPSCALE, SHORT_EDGE / min(small)))
    frame, other = (cv2.resize(x, small[::-1], interpolation=cv2.INTER_AREA) for x in (frame, other))
    first, second = (torch.from_numpy(x).permute(2, 0, 1) for x in (frame, other))
    greys, cells = (flow.prepared(first), flow.prepared(second)), flow.sizes(first)
    there, back = (at_size(flow.estimate(*pair, cells), small) for pair in (greys, greys[::-1]))
    places, returns = (places_of(field) for field in (there, back))
    is_seen, is_kept = visible(frame, other, there, back, places), visible(other, frame, back, there, returns)
    return Motion(
        places_of(at_size(there, size)),
        *(
            cv2.resize(x.view(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST).view(bool)
            for x in (is_seen, is_kept)
        ),
    )


def at_size(flow: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes a flow (h, w, 2) in pixels to ``size`` (H, W), and scales its vectors accordingly."""
    scales = np.array([size[1] / flow.shape[1], size[0] / flow.shape[0]], np.float32)
    return cv2.resize(flow, size[::-1]) * scales


def places_of(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates x and y (H, W) float32 that the pixels of a flow (H, W, 2) point to."""
    height, width = flow.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return x + flow[..., 0], y + flow[..., 1]


def visible(
    frame: np.ndarray, other: np.ndarray, there: np.ndarray, back: np.ndarray, places: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Whether the pixels of a frame are visible in another one, (H, W) bool.

    Args:
        frame: The frame (H, W, 3) uint8.
        other: The other frame (H, W, 3) uint8.
        there: Flow (H, W, 2) from the frame into the other one.
        back: Flow (H, W, 2) from the other frame into the frame.
        places: x and y in the other frame of every pixel.
    """
    height, width = frame.shape[:2]
    returned = cv2.remap(back, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    difference, length = np.linalg.norm(there + returned, axis=2), np.linalg.norm(there, axis=2)
    moved = cv2.remap(other, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    unlike = cv2.blur(cv2.absdiff(frame, moved), (SURROUNDINGS, SURROUNDINGS)).max(2)
    is_inside = (places[0] > -1) & (places[0] < width) & (places[1] > -1) & (places[1] < height)
    return is_inside & (difference < INCONSISTENT[0] + INCONSISTENT[1] * length) & (unlike < UNLIKE)


def moved_result(result: FrameResult, motion: Motion) -> FrameResult:
    """Warps the result of another frame to the current frame along the optical flow.

    Pixels that are hidden in the other frame get the value at the position that the flow points to.

    Args:
        result: Result of the other frame.
        motion: Motion from the frame into the other one.
    """
    entries = [dict(value=segment.id, **fields_of(segment)) for segment in result.objects]
    if result.id_map is not None:
        ids = moved_map(result.id_map, motion)
        return replace(result, objects=map_objects(ids, entries), id_map=ids)
    if result.label_map is not None:
        labels = moved_map(result.label_map, motion)
        return replace(result, objects=map_objects(labels, entries), label_map=labels)
    objects = (moved_object(segment, motion) for segment in result.objects)
    return replace(result, objects=tuple(segment for segment in objects if segment is not None))


def moved_map(values: np.ndarray, motion: Motion) -> np.ndarray:
    """Warps a map (H, W) of bools or integers by the optical flow, with nearest-neighbour interpolation."""
    known, index = np.unique(values, return_inverse=True)  # OpenCV moves maps of small integers
    small = index.reshape(values.shape).astype(np.uint8 if len(known) < 256 else np.uint16)
    moved = cv2.remap(small, *motion.places, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    return known[moved].astype(values.dtype)


def moved_object(segment: SegmentedObject, motion: Motion) -> SegmentedObject | None:
    """Warps the mask of an object; returns None if the warped mask is empty."""
    mask = moved_map(segment.mask, motion)
    return mask_object(mask, lambda: mask, **fields_of(segment))


def fields_of(segment: SegmentedObject) -> dict[str, Any]:
    """Fields of an object that do not depend on its mask."""
    return {name: getattr(segment, name) for name in ('id', 'label', 'name', 'score', 'is_thing')}
