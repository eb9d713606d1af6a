"""Optimises a model for inference: layout, folded batch norms, half precision, int8, compilation."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from mmcv.cnn.bricks import wrappers
from mmcv.cnn.utils import fuse_conv_bn
from torch import nn

from mmdvis.checks import check_choice
from mmdvis.errors import OptionError
from mmdvis.models import Linear, PointwiseConv
from mmdvis.models.detectors import DVIS
from mmdvis.structures.linear import ONEDNN_DTYPES, has_slow_bfloat16

from .int8_linear import Int8Linear

MATMUL_MODULES = (nn.Linear, nn.Conv1d, nn.Conv2d)
DTYPES = dict(fp32=torch.float32, bf16=torch.bfloat16, fp16=torch.float16)
LINEAR_LAYERS = (nn.Linear, wrappers.Linear, Linear)  # not their other subclasses, whose forward pass differs
OPTIMISED = (*DTYPES, 'int8')


def optimize_for_inference(model: DVIS, precision: str = 'fp32', compiled: bool = False) -> DVIS:
    """Folds batch norms of the backbone into its convolutions and uses the channels-last memory layout.

    With ``'bf16'`` or ``'fp16'``, the weights of matrix multiplications are also stored in this precision, so that they
    are not cast in every step. With ``'int8'``, on a CPU, the linear layers of the backbone and the pixel decoder are
    replaced by :class:`~mmdvis.inference.int8_linear.Int8Linear`. Sampling offsets and attention weights of deformable
    attention stay float32, and in adapters all of deformable attention. On a CPU, linear layers of other libraries and
    convolutions of one pixel use oneDNN. The model can then be used for inference only.

    Args:
        model: Model in evaluation mode; its parameters are changed in place.
        precision: ``'fp32'``, ``'bf16'``, ``'fp16'`` or ``'int8'``. bf16 needs a CPU with AVX-512 to be fast.
        compiled: Whether to compile parts of the model at the first frame, see :func:`compile_parts`.

    Returns:
        Model with the given precision. In fp32, its results agree with those of the original model up to rounding.

    Raises:
        OptionError: If the model is exported, not of the DVIS family, or already optimised in a lower precision; or if
            int8 is combined with a GPU or with compilation.
        ValueError: If the model is in training mode, or the precision is unknown.
    """
    if not isinstance(model, DVIS) or not hasattr(model.segmenter, 'backbone'):  # exported graphs have none
        raise OptionError(
            'precision and compilation apply to models of the DVIS family that are not exported, got '
            f'{type(model).__name__}; leave them out'
        )
    if model.training:
        raise ValueError('a model in training mode cannot be optimised for inference; call eval() first')
    check_choice('precision', precision, OPTIMISED)
    if not has_float32_weights(model):
        raise OptionError('the weights of the model are not float32, so it cannot be optimised; load the model again')
    device = model.data_preprocessor.mean.device
    if precision == 'int8' and device.type != 'cpu':
        raise OptionError(
            f"int8 runs on the CPU only, and the model is on {device}; use device='cpu' (mmdvis test: set the "
            "environment variable CUDA_VISIBLE_DEVICES=''), bf16 or fp16"
        )
    if precision == 'int8' and compiled:
        raise OptionError('models in int8 cannot be compiled; leave out one of both')
    if device.type == 'cpu':
        warn_if_slow(precision, compiled)
    fuse_conv_bn(model.segmenter.backbone)
    model.segmenter.to(memory_format=torch.channels_last)
    if precision == 'int8':
        quantize_linear_layers(model)
    elif precision != 'fp32':
        cast_weights(model, precision)
    if device.type == 'cpu':
        use_onednn(model)
    model.requires_grad_(False)
    model = model.with_options(precision='fp32' if precision == 'int8' else precision)
    return compile_parts(model) if compiled else model


def has_float32_weights(model: nn.Module) -> bool:
    """Whether all parameters and buffers of a model are float32, except counters and masks."""
    others = (torch.int64, torch.int32, torch.bool)
    return all(x.dtype == torch.float32 or x.dtype in others for x in model.state_dict().values())


def warn_if_slow(precision: str, compiled: bool) -> None:
    """Warns if a CPU computes a precision more slowly than float32, or a compiled model more slowly."""
    is_old = has_slow_bfloat16()
    if precision == 'bf16' and is_old:
        warnings.warn('bf16 is slow on this CPU, which has no AVX-512; use fp32 or int8', stacklevel=3)
    if compiled and ONEDNN_DTYPES:
        warnings.warn('compilation makes most models slower on a CPU; leave it out, or measure both', stacklevel=3)
    if precision == 'fp16':
        warnings.warn(f'fp16 is slow on the CPU; use {"fp32 or int8" if is_old else "bf16"}', stacklevel=3)


def quantize_linear_layers(model: DVIS) -> None:
    """Replaces the linear layers of the backbone and the pixel decoder by int8 layers.

    The other parts of a model process only a few queries, so they stay float32, as do the :func:`float32_modules`.
    """
    exact = float32_modules(model, 'int8')
    parts = (getattr(model.segmenter, name, None) for name in ('backbone', 'pixel_decoder'))
    for parent in [module for part in parts if part is not None for module in part.modules()]:
        for name, layer in parent.named_children():
            if layer in exact:
                continue
            if hasattr(layer, 'as_linear'):
                layer = layer.as_linear()
            if type(layer) in LINEAR_LAYERS:
                setattr(parent, name, Int8Linear(layer))


def use_onednn(model: nn.Module) -> None:
    """Replaces linear layers and convolutions of one pixel by those of :mod:`mmdvis.structures.linear`.

    The layers of this package use oneDNN without it; those of other libraries do not.
    """
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Conv2d) and PointwiseConv.fits(layer):
                setattr(parent, name, PointwiseConv(layer))
            elif isinstance(layer, nn.Linear) and type(layer) in LINEAR_LAYERS:
                setattr(parent, name, Linear.sharing(layer))


def cast_weights(model: DVIS, precision: str) -> None:
    """Casts the weights of linear layers, convolutions and attention, except those of :func:`float32_modules`."""
    exact, dtype = float32_modules(model, precision), DTYPES[precision]
    for module in model.modules():
        if isinstance(module, MATMUL_MODULES) and module not in exact:
            module.to(dtype)
        elif hasattr(module, 'in_proj_weight') and module not in exact:
            module.in_proj_weight.data = module.in_proj_weight.data.to(dtype)
            module.in_proj_bias.data = module.in_proj_bias.data.to(dtype)


def float32_modules(model: DVIS, precision: str) -> set[nn.Module]:
    """Modules that stay float32: sampling offsets and attention weights (in adapters all of deformable attention).

    In fp16 also the whole pixel decoder, whose values exceed the range of fp16.
    """
    decoder = set(model.segmenter.pixel_decoder.modules() if hasattr(model.segmenter, 'pixel_decoder') else ())
    modules = set(decoder) if precision == 'fp16' else set()
    for module in model.modules():
        if hasattr(module, 'sampling_offsets'):
            modules.update(
                [module.sampling_offsets, module.attention_weights] if module in decoder else module.modules()
            )
    return modules


COMPILED = ('pixel_decoder',)  # parts of the segmenter with many small operations, which compilation merges


def compile_parts(model: DVIS) -> DVIS:
    """Compiles the parts of the segmenter with many small operations; results agree up to rounding.

    They are compiled at their first call. Compiled linear layers do not use oneDNN, so that it seldom pays on a CPU.

    Where compilation fails, for example without a C++ compiler, a warning is issued and the part runs uncompiled.
    """
    for name in COMPILED:
        if hasattr(model.segmenter, name):
            getattr(model.segmenter, name).compile(backend=inductor_or_eager, dynamic=False)
    return model


def inductor_or_eager(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
    """A backend for ``torch.compile``: inductor, or the uncompiled graph with a warning if inductor fails."""
    try:
        return torch._dynamo.lookup_backend('inductor')(graph, inputs)
    except Exception as error:  # compilers raise many kinds of errors
        warnings.warn(
            f'torch.compile failed ({type(error).__name__}), so this part of the model runs uncompiled; install a C++ '
            'compiler to enable it',
            stacklevel=2,
        )
        return graph.forward
