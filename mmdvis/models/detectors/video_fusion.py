"""Fusion of the predictions of several models and test-time passes (scales, horizontal flip)."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import nn

from mmdvis.io import transform_frames
from mmdvis.models.functional.video_fusion import fuse_predictions
from mmdvis.registry import MODELS
from mmdvis.results import ClassInfo, VideoDataSample
from mmdvis.structures import FlippedMasks, FrameSource, VideoPrediction


@MODELS.register_module()
class VideoFusion(BaseModel):
    """Runs several models and passes on whole videos, and fuses their predictions before the postprocessor.

    Args:
        members: Configs of :class:`DVIS` models. The first one determines the identities, and its postprocessor is
            used. Weights are loaded into each member separately.
        passes: Arguments of :func:`transform_frames` for each pass of each member, e.g.
            ``dict(short_edge=720, max_edge=1333, flip=False)``.

    Raises:
        ValueError: If there are no members or no passes.
    """

    def __init__(self, members: Sequence[dict], passes: Sequence[dict] = ({},)) -> None:
        super().__init__(None)
        if not members or not passes:
            raise ValueError(f'fusion needs at least one member and one pass, got {len(members)} and {len(passes)}')
        self.members = nn.ModuleList(MODELS.build(member) for member in members)
        self.passes = tuple(dict(options) for options in passes)

    @property
    def num_classes(self) -> int:
        """Number of classes K of the first member."""
        return self.members[0].num_classes

    @property
    def classes(self) -> ClassInfo:
        """Class information of the first member."""
        return self.members[0].classes

    def map_members(self, change: Callable[[nn.Module], nn.Module]) -> 'VideoFusion':
        """The same fusion of changed members.

        Args:
            change: Applied to each member, e.g. ``optimize_for_inference``.
        """
        fusion = copy.copy(self)
        fusion.__dict__['_modules'] = dict(self._modules, members=nn.ModuleList(map(change, self.members)))
        return fusion

    @torch.no_grad()
    def predict(self, inputs: Sequence[FrameSource], data_samples: Sequence[VideoDataSample]) -> list[VideoDataSample]:
        """Predicts whole videos one after the other.

        Args:
            inputs: Videos.
            data_samples: Sample of each video.

        Returns:
            Samples with the results.
        """
        return [self.members[0].result(self.fused(source)).pack(sample) for source, sample in zip(inputs, data_samples)]

    def fused(self, source: FrameSource) -> VideoPrediction:
        """Fused prediction of one video."""
        predictions = []
        for member in self.members:
            for options in self.passes:
                _, prediction = next(member.predictions([transform_frames(source, **options)]))
                predictions.append(
                    replace(prediction, masks=FlippedMasks(prediction.masks)) if options.get('flip') else prediction
                )
        return fuse_predictions(predictions)

    def forward(self, inputs: Any, data_samples: Sequence[VideoDataSample] | None = None, mode: str = 'predict') -> Any:
        """Predicts videos; the members are trained separately.

        Args:
            inputs: Videos.
            data_samples: Sample of each video.
            mode: Must be ``'predict'``.

        Raises:
            ValueError: If the mode is not ``'predict'``.
        """
        if mode != 'predict':
            raise ValueError(f"VideoFusion only supports mode='predict', got {mode!r}; train its members separately")
        return self.predict(inputs, data_samples)

    def val_step(self, data: dict[str, Any]) -> list[VideoDataSample]:
        """Predicts a collated batch of frame sources."""
        return self.predict(data['inputs'], data['data_samples'])

    def test_step(self, data: dict[str, Any]) -> list[VideoDataSample]:
        """Predicts a collated batch of frame sources."""
        return self.predict(data['inputs'], data['data_samples'])
