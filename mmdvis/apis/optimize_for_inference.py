"""A model made quicker for inference, with the same numbers out or, in half precision, nearly so."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from mmcv.cnn.utils import fuse_conv_bn
from torch import nn

from mmdvis.checks import check_choice
from mmdvis.models.detectors import DVIS

MATMUL_MODULES = (nn.Linear, nn.Conv1d, nn.Conv2d)
DTYPES = dict(fp32=torch.float32, bf16=torch.bfloat16, fp16=torch.float16)


def optimize_for_inference(model: DVIS, precision: str = 'fp32', compiled: bool = False) -> DVIS:
    """Folds batch norms of the backbone into its convolutions and lays convolutions out channels last.

    In half precision the weights of products are kept in it, too, so that no step casts them again; where to sample and how
    to weigh it stays float32. The model then serves for inference only.

    Args:
        model: in evaluation mode; changed in place.
        precision: ``'fp32'``, ``'bf16'`` or ``'fp16'``.
        compiled: compile parts of it at the first frame, see :func:`compile_parts`.

    Returns:
        the model. In fp32 its results agree with those before up to rounding.

    Raises:
        ValueError: the model is in training mode, or there is no such precision.
    """
    if model.training:
        raise ValueError('a model is tuned for inference; call eval() first')
    check_choice('precision', precision, DTYPES)
    fuse_conv_bn(model.segmenter.backbone)
    model.segmenter.to(memory_format=torch.channels_last)
    model.precision = precision
    if precision != 'fp32':
        cast_weights(model, precision)
    if precision == 'fp16' and model.data_preprocessor.mean.device.type == 'cpu':
        warnings.warn('the CPU has no quick products in fp16; bf16 is what it is good at', stacklevel=2)
    model.requires_grad_(False)
    return compile_parts(model) if compiled else model


def cast_weights(model: DVIS, precision: str) -> None:
    """Casts the weights of linear maps, convolutions and attentions, but for those that run in float32 whatever is around."""
    exact, dtype = float32_modules(model, precision), DTYPES[precision]
    for module in model.modules():
        if isinstance(module, MATMUL_MODULES) and module not in exact:
            module.to(dtype)
        elif hasattr(module, 'in_proj_weight') and module not in exact:
            module.in_proj_weight.data = module.in_proj_weight.data.to(dtype)
            module.in_proj_bias.data = module.in_proj_bias.data.to(dtype)


def float32_modules(model: DVIS, precision: str) -> set[nn.Module]:
    """What says where deformable attention looks; all of it in adapters; and the pixel decoder, where bfloat16 is not meant."""
    decoder = set(model.segmenter.pixel_decoder.modules())
    found = set() if precision == 'bf16' else set(decoder)
    for module in model.modules():
        if hasattr(module, 'sampling_offsets'):
            found.update([module.sampling_offsets, module.attention_weights] if module in decoder else module.modules())
    return found


COMPILED = ('pixel_decoder',)  # parts of the segmenter; of the others the CPU's gain is lost in what times vary by


class CompiledCall:
    """A function that is compiled when it is first called; where that fails, as without a C compiler, it stays as it is.

    Args:
        function: what is compiled, for every shape of its arguments anew.
        name: of the part, for the sentence.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self.plain, self.name = function, name
        self.quick: Callable[..., Any] = torch.compile(function, dynamic=False)
        self.works: bool | None = None  # not tried

    def __call__(self, *args: Any) -> Any:
        if self.works is False:
            return self.plain(*args)
        try:
            found = self.quick(*args)
        except Exception as error:  # what compilers may raise is nowhere written
            if self.works:
                raise
            self.works = False
            warnings.warn(
                f'torch.compile does not run here ({type(error).__name__}), so the {self.name} runs as it is; '
                'a C++ compiler mends it',
                stacklevel=2,
            )
            return self.plain(*args)
        self.works = True
        return found


def compile_parts(model: DVIS) -> DVIS:
    """Lets the parts of the segmenter for which it pays be compiled at their first call; the model serves for inference.

    Results agree up to rounding.
    """
    for name in COMPILED:
        module: nn.Module = getattr(model.segmenter, name)
        module.forward = CompiledCall(module.forward, name.replace('_', ' '))
    return model
