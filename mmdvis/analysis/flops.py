"""Counts parameters, multiply-adds (MACs) and activations per frame of each component of a model."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from prettytable import PrettyTable
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from mmdvis.models.detectors import DVIS
from mmdvis.models.detectors.chain import has_compact_features, segment
from mmdvis.structures import FrameQueries

aten = torch.ops.aten
EMBEDDING_BAG_OPS = (aten._embedding_bag, aten._embedding_bag_forward_only)  # with and without autograd
LINEAR_OPS = tuple(filter(None, [getattr(torch.ops.mkldnn, '_linear_pointwise', None)]))  # absent without oneDNN
HEADS = 'transformer decoder and heads'
EXPANSION = 'enlarging of mask features'  # when masks are computed
MATMUL_OPS = {
    aten.convolution,
    aten.mm,
    aten.addmm,
    aten.bmm,
    aten.baddbmm,
    *EMBEDDING_BAG_OPS,
    *LINEAR_OPS,
    aten._scaled_dot_product_flash_attention_for_cpu,
    aten._scaled_dot_product_flash_attention,
    aten._scaled_dot_product_efficient_attention,
    aten._scaled_dot_product_fused_attention_overrideable,
}


@dataclass(frozen=True)
class Cost:
    """Computational cost of one component.

    Attributes:
        name: Name of the component.
        parameters: Number of parameters.
        macs: Multiply-adds per frame of convolutions, matrix multiplications, attention and deformable sampling
            (four corners per sample).
        activations: Number of output elements per frame of these operations.
    """

    name: str
    parameters: int
    macs: float
    activations: float


class OutputCounter(TorchDispatchMode):
    """Counts the output elements of the operations in ``MATMUL_OPS``."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if func._overloadpacket in MATMUL_OPS:
            self.total += (output[0] if isinstance(output, (tuple, list)) else output).numel()
        return output


def bag_flops(weight: Any, indices: Any, *rest: object, out_shape: Any = None, **more: object) -> int:
    """FLOPs of a weighted sum of rows: one multiply-add (two FLOPs) for each element read."""
    return 2 * indices[0] * weight[1]


def linear_flops(x: Any, weight: Any, *rest: object, out_shape: Any = None, **more: object) -> int:
    """FLOPs of a linear layer of oneDNN."""
    return 2 * math.prod(x) * weight[0]


def cpu_attention_flops(query: Any, key: Any, value: Any, *rest: object, out_shape: Any = None, **more: object) -> int:
    """FLOPs of fused attention on CPU, which ``FlopCounterMode`` does not support."""
    return sdpa_flop_count(query, key, value)


CUSTOM_FORMULAS = {
    **dict.fromkeys(EMBEDDING_BAG_OPS, bag_flops),
    **dict.fromkeys(LINEAR_OPS, linear_flops),
    aten._scaled_dot_product_flash_attention_for_cpu: cpu_attention_flops,
}


@dataclass(frozen=True)
class Counts:
    """Operation counts of a run.

    Attributes:
        macs: Multiply-adds, including deformable sampling.
        outputs: Number of output elements of the operations in ``MATMUL_OPS``.
        gathered: Number of elements read by deformable sampling, with one multiply-add each.
    """

    macs: float
    outputs: float
    gathered: float

    def __sub__(self, other: 'Counts') -> 'Counts':
        return Counts(self.macs - other.macs, self.outputs - other.outputs, self.gathered - other.gathered)

    def __truediv__(self, number: float) -> 'Counts':
        return Counts(self.macs / number, self.outputs / number, self.gathered / number)


def count_ops(run: Callable[[], Any]) -> tuple[Any, Counts]:
    """Runs a function and returns its result and its operation counts."""
    counter = FlopCounterMode(display=False, custom_mapping=CUSTOM_FORMULAS)
    outputs = OutputCounter()
    with torch.no_grad(), counter, outputs:
        result = run()
    gathered = (
        sum(flops for name, flops in counter.get_flop_counts().get('Global', {}).items() if name in EMBEDDING_BAG_OPS)
        / 2
    )
    return result, Counts(counter.get_total_flops() / 2, outputs.total, gathered)


def num_parameters(*modules: nn.Module) -> int:
    """Number of parameters of the modules; None counts as zero."""
    return sum(p.numel() for module in modules if module is not None for p in module.parameters())


def model_cost(model: DVIS, size: tuple[int, int], frames: int = 5) -> list[Cost]:
    """Computes the cost of each component.

    The segmenter runs on the meta device, so models of any size can be measured on any machine. The tracker and the
    refiner run on random values on the CPU, because matching needs actual values.

    Args:
        model: Model on any device. Its segmenter is moved to the meta device, so the model cannot be used afterwards.
        size: (height, width) of the frames before padding.
        frames: Length of the clip over which the costs of tracker and refiner are averaged.
    """
    parts, upscale = segmenter_parts(model.segmenter), getattr(model.segmenter, 'upscale', None)
    parameters = {
        **{name: num_parameters(part) for name, part in parts.items()},
        rest_name(model.segmenter): num_parameters(model.segmenter) - num_parameters(*parts.values(), upscale),
        EXPANSION: num_parameters(upscale),
        'tracker': num_parameters(model.tracker),
        'refiner': num_parameters(model.refiner),
    }
    return [
        Cost(name, parameters[name], counts.macs, counts.outputs)
        for name, counts in component_counts(model, size, frames).items()
    ]


def component_counts(model: DVIS, size: tuple[int, int], frames: int) -> dict[str, Counts]:
    """Operation counts per frame of each component; arguments as in :func:`model_cost`."""
    model = model.eval().cpu().requires_grad_(False)  # the FLOP counter hooks into autograd if gradients are required
    tracker, height_width = model.tracker, model.data_preprocessor.padded(size)
    segmenter = model.segmenter.to('meta')
    images = torch.empty(1, 3, *height_width, device='meta')
    (queries, state), _ = count_ops(lambda: segment(segmenter, images[None], compact=True))
    _, rest = count_ops(lambda: segment(segmenter, images[None], None, state, compact=True))
    counts_of, inputs = {}, images
    for name, part in segmenter_parts(segmenter).items():
        inputs, counts_of[name] = count_ops(partial(part, inputs))
        rest -= counts_of[name]
    counts_of[rest_name(segmenter)] = rest
    if has_compact_features(segmenter):
        _, counts_of[EXPANSION] = count_ops(lambda: segmenter.expand(queries.mask_features[0]))
    clip_queries = random_clip(queries, frames)
    (tracks, _), counts = count_ops(lambda: tracker(clip_queries))
    if num_parameters(tracker):
        counts_of['tracker'] = counts / frames
    if model.refiner is not None:
        counts_of['refiner'] = count_ops(lambda: model.refiner(tracks))[1] / frames
    return counts_of


def segmenter_parts(segmenter: nn.Module) -> dict[str, Any]:
    """Parts of a segmenter that are measured on their own: backbone and pixel decoder, or none without a decoder."""
    if not hasattr(segmenter, 'pixel_decoder'):
        return {}
    return {'backbone': segmenter.backbone, 'pixel decoder': segmenter.pixel_decoder}


def rest_name(segmenter: nn.Module) -> str:
    """Name of the segmenter without its :func:`segmenter_parts`."""
    return HEADS if segmenter_parts(segmenter) else 'segmenter'


def macs_and_gathers(model: DVIS, size: tuple[int, int], frames: int) -> dict[str, tuple[float, float]]:
    """Multiply-adds without deformable sampling, and elements read by deformable sampling, per frame and component.

    Args:
        model: See :func:`model_cost`.
        size: See :func:`model_cost`.
        frames: See :func:`model_cost`.
    """
    return {
        name: (counts.macs - counts.gathered, counts.gathered)
        for name, counts in component_counts(model, size, frames).items()
    }


def random_clip(queries: FrameQueries, frames: int) -> FrameQueries:
    """Random queries of a clip, with the feature sizes of the queries of one frame.

    The mask features have 2 x 2 pixels, because no masks are computed from them.

    Args:
        queries: Queries of one frame, on any device.
        frames: Length of the clip.
    """

    def like(x: Tensor) -> Tensor:
        return torch.randn(1, frames, *x.shape[2:])

    features = torch.zeros(1, frames, queries.mask_features.shape[2], 2, 2)
    return FrameQueries(
        like(queries.embeds),
        like(queries.match_embeds),
        like(queries.class_logits),
        like(queries.mask_embeds),
        features,
        torch.ones(1, frames, dtype=torch.bool),
    )


def cost_table(costs: list[Cost]) -> str:
    """Text table with one row per component and their sum."""
    table = PrettyTable(['component', 'parameters', 'GMACs / frame', 'M activations / frame'])
    total = Cost('all', sum(c.parameters for c in costs), sum(c.macs for c in costs), sum(c.activations for c in costs))
    for cost in (*costs, total):
        table.add_row([cost.name, f'{cost.parameters:,}', f'{cost.macs / 1e9:.2f}', f'{cost.activations / 1e6:.1f}'])
    table.align, table.align['component'] = 'r', 'l'
    return str(table)


def cost_summary(costs: list[Cost]) -> dict[str, dict[str, float]]:
    """Costs as a JSON-serialisable dict."""
    return {cost.name: dict(parameters=cost.parameters, macs=cost.macs, activations=cost.activations) for cost in costs}
