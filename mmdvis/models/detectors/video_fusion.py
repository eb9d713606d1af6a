"""Several passes over a video, fused before the task: scales, mirror image, checkpoints."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import nn

from mmdvis.checkpoints import plan_loading, read_checkpoint, state_dict_of
from mmdvis.io import transform_frames
from mmdvis.models.functional.video_fusion import fuse_predictions
from mmdvis.registry import MODELS
from mmdvis.structures import FlippedMasks, FrameSource, VideoDataSample, VideoPrediction


@MODELS.register_module()
class VideoFusion(BaseModel):
    """Runs whole models on whole videos, and fuses what they say of rows before the postprocessor sees it.

    Args:
        members: ``dict(model=config of a DVIS, checkpoint=path)`` each; the first says what the tracks are called, and its
            postprocessor is used. Without a checkpoint a member keeps its weights.
        passes: arguments of :func:`transform_frames` for each pass of each member: ``dict(short_edge=720, max_edge=1333, flip=False)``.
        trust: read checkpoints without guarding against code in them.

    Raises:
        ValueError: there is no member or no pass; a checkpoint does not cover its model.
    """

    def __init__(self, members: Sequence[dict], passes: Sequence[dict] = ({},), trust: bool = False) -> None:
        super().__init__(None)
        if not members or not passes:
            raise ValueError(f'fusion needs at least one member and one pass, got {len(members)} and {len(passes)}')
        self.members = nn.ModuleList(
            load_member(member['model'], member.get('checkpoint'), trust) for member in members
        )
        self.passes = tuple(dict(one) for one in passes)

    @torch.no_grad()
    def predict(self, inputs: Sequence[FrameSource], data_samples: Sequence[VideoDataSample]) -> list[VideoDataSample]:
        """Whole videos, one after the other."""
        return [
            self.members[0].postprocessor(self.fused(source), sample) for source, sample in zip(inputs, data_samples)
        ]

    def fused(self, source: FrameSource) -> VideoPrediction:
        """The prediction of one video, all passes of all members in it."""
        found = []
        for member in self.members:
            for one in self.passes:
                _, prediction = next(member.predictions([transform_frames(source, **one)]))
                found.append(
                    replace(prediction, masks=FlippedMasks(prediction.masks)) if one.get('flip') else prediction
                )
        return fuse_predictions(found)

    def forward(self, inputs: Any, data_samples: Sequence[VideoDataSample] | None = None, mode: str = 'predict') -> Any:
        """``'predict'`` only: members are trained by themselves."""
        if mode != 'predict':
            raise ValueError(f'fusion can only predict, got mode={mode!r}; train its members by themselves')
        return self.predict(inputs, data_samples)

    def val_step(self, data: dict[str, Any]) -> list[VideoDataSample]:
        """Predicts a collated batch of frame sources."""
        return self.predict(data['inputs'], data['data_samples'])

    def test_step(self, data: dict[str, Any]) -> list[VideoDataSample]:
        """Predicts a collated batch of frame sources."""
        return self.predict(data['inputs'], data['data_samples'])


def load_member(model: dict, checkpoint: str | None, trust: bool) -> nn.Module:
    """A model with its weights, in evaluation mode; every weight must be in the checkpoint."""
    member = MODELS.build(model)
    if checkpoint is not None:
        weights = state_dict_of(read_checkpoint(checkpoint, trust=trust))
        member.load_state_dict(plan_loading(member.state_dict(), weights, origin=checkpoint).weights, strict=False)
    return member.eval()
