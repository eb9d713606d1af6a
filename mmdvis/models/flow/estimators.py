"""Estimators of the optical flow from a key frame into its references."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmdvis.checks import check_choice
from mmdvis.registry import MODELS
from mmdvis.structures import quarter_flow

SMALLEST = 16  # pixels of a side; smaller frames are padded for the estimator


def grid_of(frame: Tensor) -> tuple[int, int]:
    """(height, width) of the flow of a frame (3, H, W)."""
    return -(-frame.shape[1] // 4), -(-frame.shape[2] // 4)


@MODELS.register_module()
class ZeroFlow:
    """No motion; for tests and ablations."""

    def __call__(self, key: Tensor, references: Tensor, names: Sequence[Any] | None = None) -> Tensor:
        """Flow (N, 2, H / 4, W / 4) in cells, from a key (3, H, W) uint8 into references (N, 3, H, W)."""
        return torch.zeros(len(references), 2, *grid_of(key))


@MODELS.register_module()
class DISFlow:
    """Dense inverse search (arXiv:1603.03590), as OpenCV implements it, on the CPU.

    Args:
        preset: ``'ultrafast'``, ``'fast'`` or ``'medium'``.
        input_scale: Factor of the size at which the flow is estimated.
    """

    def __init__(self, preset: str = 'medium', input_scale: float = 0.5) -> None:
        check_choice('preset', preset, ('ultrafast', 'fast', 'medium'))
        self.preset, self.input_scale = preset, input_scale

    def __call__(self, key: Tensor, references: Tensor, names: Sequence[Any] | None = None) -> Tensor:
        """Flow (N, 2, H / 4, W / 4) in cells, from a key (3, H, W) uint8 into references (N, 3, H, W)."""
        grey, size = self.prepared(key), self.sizes(key)
        fields = (self.estimate(grey, self.prepared(reference), size) for reference in references)
        return torch.stack([quarter_flow(torch.from_numpy(x).permute(2, 0, 1), grid_of(key)) for x in fields])

    def estimate(self, key: np.ndarray, reference: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Estimates the flow (h, w, 2) in pixels between two prepared frames, and crops it to ``size`` (h, w)."""
        presets = dict(ultrafast=0, fast=1, medium=2)
        estimator = cv2.DISOpticalFlow_create(presets[self.preset])  # keeps state, so it is made for each call
        return estimator.calc(key, reference, None)[: size[0], : size[1]]

    def sizes(self, frame: Tensor) -> tuple[int, int]:
        """(height, width) at which the flow of a frame (3, H, W) is estimated."""
        return max(1, round(frame.shape[1] * self.input_scale)), max(1, round(frame.shape[2] * self.input_scale))

    def prepared(self, frame: Tensor) -> np.ndarray:
        """A frame (3, H, W) uint8 as grey values (h, w) uint8, resized and padded to the smallest size."""
        grey = cv2.cvtColor(np.ascontiguousarray(frame.permute(1, 2, 0).cpu().numpy()), cv2.COLOR_RGB2GRAY)
        height, width = self.sizes(frame)
        if grey.shape != (height, width):
            interpolation = cv2.INTER_AREA if self.input_scale < 1 else cv2.INTER_LINEAR
            grey = cv2.resize(grey, (width, height), interpolation=interpolation)
        pads = ((0, max(0, SMALLEST - height)), (0, max(0, SMALLEST - width)))
        return np.pad(grey, pads, mode='edge')


@MODELS.register_module()
class RAFTFlow:
    """RAFT (arXiv:2003.12039) of torchvision, which must be installed.

    Args:
        weights: Checkpoint of ``torchvision.models.optical_flow.raft_large``.
        input_scale: Factor of the size at which the flow is estimated.
        device: Device of the network.
    """

    def __init__(self, weights: str, input_scale: float = 0.5, device: str = 'cpu') -> None:
        self.weights, self.input_scale, self.device = weights, input_scale, device

    @cached_property
    def network(self) -> Any:
        """The network, loaded at the first call."""
        from torchvision.models.optical_flow import raft_large

        network = raft_large(weights=None)
        network.load_state_dict(torch.load(self.weights, map_location='cpu', weights_only=True))
        return network.to(self.device).eval()

    def prepared(self, frames: Tensor) -> Tensor:
        """Frames (N, 3, H, W) uint8 in [-1, 1], with sides that are multiples of 8 and at least 128."""
        size = [max(128, round(n * self.input_scale / 8) * 8) for n in frames.shape[-2:]]
        resized = F.interpolate(frames.to(self.device).float(), size, mode='bilinear', align_corners=False)
        return resized / 127.5 - 1

    @torch.no_grad()
    def __call__(self, key: Tensor, references: Tensor, names: Sequence[Any] | None = None) -> Tensor:
        """Flow (N, 2, H / 4, W / 4) in cells, from a key (3, H, W) uint8 into references (N, 3, H, W)."""
        frames = self.prepared(references)
        flows = self.network(self.prepared(key[None]).expand_as(frames), frames)[-1]
        return torch.stack([quarter_flow(flow.cpu(), grid_of(key)) for flow in flows])
