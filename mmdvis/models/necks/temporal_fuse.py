"""Temporal fusion of feature pyramids: gather, align, attend and redistribute (VPSNet, CVPR 2020)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdvis.checks import check_choice
from mmdvis.registry import MODELS

from .attend import SpatioTemporalAttend
from .flow_align import SLOPE, FlowAlign, init_convs

Pyramid = Sequence[Tensor]  # p2 to p6, each (B, C, h, w)


@MODELS.register_module()
class TemporalFuse(BaseModule):
    """Adds what neighbouring frames show to the feature pyramid of a key frame.

    Args:
        channels: Number of channels C of the pyramid.
        num_references: Number of references N.
        align: Whether references are aligned by optical flow.
        attend: Whether frames are fused by attention; otherwise, aligned frames are fused by a convolution. With
            neither, no reference is used, and the pyramid only exchanges its levels.
        gather: ``'sum'`` of p2 to p5; or ``'mean'`` of p2 to p6, which then also changes p6, as in the released code.
        refine: Whether a 3 x 3 convolution follows the fusion, as in the released code.
        warp: ``'once'``, or ``'twice'`` as in the released code; see :class:`FlowAlign`.
        init: ``'kaiming'``, or ``'xavier'`` as in the released code.
        residual_init: ``'zero'`` starts without a correction of the flow; None initialises it as the rest.
    """

    def __init__(
        self,
        channels: int = 256,
        num_references: int = 1,
        align: bool = True,
        attend: bool = True,
        gather: str = 'sum',
        refine: bool = False,
        warp: str = 'once',
        init: str = 'kaiming',
        residual_init: str | None = None,
    ) -> None:
        super().__init__()
        check_choice('gather', gather, ('sum', 'mean'))
        check_choice('warp', warp, ('once', 'twice'))
        check_choice('init', init, ('kaiming', 'xavier'))
        self.num_references, self.gather_mode, self.init = num_references if align or attend else 0, gather, init
        self.align = FlowAlign(channels, warp_once=warp == 'once', init=residual_init or init) if align else None
        self.attend = SpatioTemporalAttend(channels, num_references) if attend else None
        self.merge = nn.Conv2d((num_references + 1) * channels, channels, 1) if align and not attend else None
        self.refine = nn.Conv2d(channels, channels, 3, padding=1) if refine else None

    def init_weights(self) -> None:
        """Initialises the convolutions."""
        init_convs(self, self.init)
        if self.align is not None:
            self.align.init_weights()

    @property
    def needs_flow(self) -> bool:
        """Whether references are aligned by optical flow."""
        return self.align is not None

    def gather(self, pyramid: Pyramid) -> Tensor:
        """The levels of a pyramid in one map (B, C, h, w) of the size of p2."""
        levels = pyramid[:4] if self.gather_mode == 'sum' else pyramid
        resized = [F.interpolate(level, pyramid[0].shape[-2:], mode='nearest') for level in levels]
        total = torch.stack(resized).sum(0)
        return total if self.gather_mode == 'sum' else total / len(levels)

    def redistribute(self, fused: Tensor, pyramid: Pyramid) -> tuple[Tensor, ...]:
        """The pyramid with a fused map (B, C, h, w) added to its levels."""
        levels = pyramid[:4] if self.gather_mode == 'sum' else pyramid
        renewed = [level + F.adaptive_max_pool2d(fused, level.shape[-2:]) for level in levels]
        if len(renewed) < len(pyramid):
            renewed.append(F.max_pool2d(renewed[-1], 1, stride=2))
        return tuple(renewed)

    def forward(
        self, key: Pyramid, references: Sequence[Pyramid] = (), flows: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """The fused pyramid of the key frame.

        Args:
            key: Pyramid of the key frame.
            references: Pyramids of the N references; not used without align and attend.
            flows: Flow (B, N, 2, h, w) from the key into each reference in pixels of p2; None without align.
        """
        centre = fused = self.gather(key)
        if self.num_references:
            others = [self.gather(pyramid) for pyramid in references]
            if self.align is not None:
                others = [self.align(centre, other, flow) for other, flow in zip(others, flows.unbind(1))]
            if self.attend is not None:
                fused = self.attend(centre, others)
            elif self.merge is not None:
                fused = F.leaky_relu(self.merge(torch.cat([centre, *others], 1)), SLOPE)
        if self.refine is not None:
            fused = F.relu(self.refine(fused))
        return self.redistribute(fused, key)
