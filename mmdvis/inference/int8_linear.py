"""Linear layer that multiplies 8-bit integers, for inference on a CPU."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mmdvis.errors import OptionError


class Int8Linear(nn.Module):
    """Linear layer with int8 weights and inputs that are quantised in each call (dynamic quantisation).

    Weights have one scale per output channel. The inputs of a call share one scale and zero point with 7 bits: without
    VNNI instructions, the CPU adds two products in 16 bits, which 8 bits would overflow. The result of a frame
    therefore depends slightly on the frames that are computed in the same call. Outputs are float32.

    Args:
        linear: Float32 layer to quantise; not changed.

    Raises:
        OptionError: PyTorch was built without oneDNN.
    """

    LEVELS: ClassVar[int] = 127
    weight: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        if not torch.backends.mkldnn.is_available():
            raise OptionError('int8 needs a build of PyTorch with oneDNN, and this one has none; use fp32')
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach()
        scale = (weight.abs().amax(1) / self.LEVELS).clamp_min(1e-12)
        self.register_buffer('weight', (weight / scale[:, None]).round().to(torch.int8))
        self.register_buffer('scale', scale)
        self.register_buffer('zero_points', torch.zeros(self.out_features, dtype=torch.int32))
        self.register_buffer('bias', None if linear.bias is None else linear.bias.detach().clone())
        self.pack()

    def pack(self) -> None:
        """Converts the weights to the memory layout of the operator."""
        self.packed = torch.ops.onednn.qlinear_prepack(self.weight, None)

    def __getstate__(self) -> dict[str, Any]:
        """State without the packed weights, which cannot be copied."""
        return {name: value for name, value in self.__dict__.items() if name != 'packed'}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restores a copy and packs its weights."""
        super().__setstate__(state)
        self.pack()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> 'Int8Linear':
        """Refuses other types and devices, for which there are no packed weights."""
        changed = fn(self.scale)
        if changed.dtype != torch.float32 or changed.device.type != 'cpu':
            raise OptionError('a model in int8 stays on the CPU in its precision; load the model again to change them')
        return self

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self.pack()

    def forward(self, x: Tensor) -> Tensor:
        """Applies the layer to (..., in_features) float32.

        Returns:
            Outputs (..., out_features) float32; NaN if an input is not finite.
        """
        if not x.numel():
            return x.new_zeros(*x.shape[:-1], self.out_features)
        low, high = (value.item() for value in x.aminmax())
        span = max(high, 0.0) - min(low, 0.0)  # zero is always represented exactly
        if not math.isfinite(low) or not math.isfinite(high):
            return x.new_full((*x.shape[:-1], self.out_features), math.nan)
        step = span / self.LEVELS or 1.0
        zero = round(-min(low, 0.0) / step)
        rounded = (x.reshape(-1, self.in_features) / step).add_(zero + 0.5).to(torch.uint8)  # truncates
        out = torch.ops.onednn.qlinear_pointwise(
            rounded,
            step,
            zero,
            self.packed,
            self.scale,
            self.zero_points,
            self.bias,
            1.0,
            0,
            torch.float32,
            'none',
            [],
            '',
        )
        return out.view(*x.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        """Sizes for ``repr``."""
        return f'in_features={self.in_features}, out_features={self.out_features}'
