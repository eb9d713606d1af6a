"""Parameters, multiply-adds and activations of a model, by component and frame."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from prettytable import PrettyTable
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from mmdvis.models.detectors import DVIS
from mmdvis.structures import FrameQueries

aten = torch.ops.aten
EMBEDDING_BAG_OPS = (aten._embedding_bag, aten._embedding_bag_forward_only)  # with and without gradients
HEADS = 'transformer decoder and heads'
MATMUL_OPS = {
    aten.convolution,
    aten.mm,
    aten.addmm,
    aten.bmm,
    aten.baddbmm,
    *EMBEDDING_BAG_OPS,
    aten._scaled_dot_product_flash_attention_for_cpu,
    aten._scaled_dot_product_flash_attention,
    aten._scaled_dot_product_efficient_attention,
    aten._scaled_dot_product_fused_attention_overrideable,
}


@dataclass(frozen=True)
class Cost:
    """What one component costs.

    Attributes:
        name: of the component.
        parameters: their number.
        macs: multiply-adds a frame of convolutions, matrix products, attention and deformable sampling (four corners a sample).
        activations: numbers a frame that these operations put out.
    """

    name: str
    parameters: int
    macs: float
    activations: float


class OutputCounter(TorchDispatchMode):
    """Counts the numbers that products put out."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func._overloadpacket in MATMUL_OPS:
            self.total += (found[0] if isinstance(found, (tuple, list)) else found).numel()
        return found


def bag_flops(weight: Any, indices: Any, *rest: object, out_shape: Any = None, **more: object) -> int:
    """Of a weighted sum of rows: one multiply-add for each number read."""
    return 2 * indices[0] * weight[1]


def cpu_attention_flops(query: Any, key: Any, value: Any, *rest: object, out_shape: Any = None, **more: object) -> int:
    """Of the fused attention on CPU, which the library's counter does not know."""
    return sdpa_flop_count(query, key, value)


CUSTOM_FORMULAS = {
    **dict.fromkeys(EMBEDDING_BAG_OPS, bag_flops),
    aten._scaled_dot_product_flash_attention_for_cpu: cpu_attention_flops,
}


@dataclass(frozen=True)
class Counts:
    """What a run counts.

    Attributes:
        macs: multiply-adds, those of deformable sampling included.
        outputs: numbers that products put out.
        gathered: numbers that deformable sampling reads, a multiply-add for each.
    """

    macs: float
    outputs: float
    gathered: float

    def __sub__(self, other: 'Counts') -> 'Counts':
        return Counts(self.macs - other.macs, self.outputs - other.outputs, self.gathered - other.gathered)

    def __truediv__(self, number: float) -> 'Counts':
        return Counts(self.macs / number, self.outputs / number, self.gathered / number)


def count_ops(run: Callable[[], Any]) -> tuple[Any, Counts]:
    """The result of ``run`` and what it counts."""
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
    """Parameters of modules; None has none."""
    return sum(p.numel() for module in modules if module is not None for p in module.parameters())


def model_cost(model: DVIS, size: tuple[int, int], frames: int = 5) -> list[Cost]:
    """The cost of every component.

    The segmenter runs on tensors without memory, so the largest models can be measured anywhere; tracker and refiner, whose
    matching needs numbers, run on random ones.

    Args:
        model: on any device; moved to the meta device, so it is of no use afterwards.
        size: (height, width) of the frames, which are padded as the model pads them.
        frames: of the clip over which tracker and refiner are averaged.
    """
    segmenter = model.segmenter
    heads = num_parameters(segmenter) - num_parameters(segmenter.backbone, segmenter.pixel_decoder)
    parameters = {
        'backbone': num_parameters(segmenter.backbone),
        'pixel decoder': num_parameters(segmenter.pixel_decoder),
        HEADS: heads,
        'tracker': num_parameters(model.tracker),
        'refiner': num_parameters(model.refiner),
    }
    return [
        Cost(name, parameters[name], counts.macs, counts.outputs)
        for name, counts in component_counts(model, size, frames).items()
    ]


def component_counts(model: DVIS, size: tuple[int, int], frames: int) -> dict[str, Counts]:
    """What every component counts for one frame; arguments as :func:`model_cost`."""
    model = model.eval().cpu().requires_grad_(False)  # the counter follows whatever wants gradients
    tracker, height_width = model.tracker, model.data_preprocessor.padded(size)
    segmenter = model.segmenter.to('meta')
    images = torch.empty(1, 3, *height_width, device='meta')
    maps, backbone = count_ops(lambda: segmenter.backbone(images))
    _, pixel = count_ops(lambda: segmenter.pixel_decoder(maps))
    queries, whole = count_ops(lambda: segmenter(images[None]))
    found = {'backbone': backbone, 'pixel decoder': pixel, HEADS: whole - backbone - pixel}
    given = random_clip(queries, frames)
    if num_parameters(tracker):
        (tracks, _), counts = count_ops(lambda: tracker(given))
        found['tracker'] = counts / frames
        if model.refiner is not None:
            found['refiner'] = count_ops(lambda: model.refiner(tracks))[1] / frames
    return found


def macs_and_gathers(model: DVIS, size: tuple[int, int], frames: int) -> dict[str, tuple[float, float]]:
    """Multiply-adds of products, and numbers gathered by deformable attention, of each component and frame."""
    return {
        name: (counts.macs - counts.gathered, counts.gathered)
        for name, counts in component_counts(model, size, frames).items()
    }


def random_clip(queries: FrameQueries, frames: int) -> FrameQueries:
    """Random queries of the shapes of one frame's, for a clip; the mask features are tiny, because masks are not made here."""

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
    """A row for every component, and their sum."""
    text = PrettyTable(['component', 'parameters', 'G multiply-adds a frame', 'M activations a frame'])
    total = Cost('all', sum(c.parameters for c in costs), sum(c.macs for c in costs), sum(c.activations for c in costs))
    for cost in (*costs, total):
        text.add_row([cost.name, f'{cost.parameters:,}', f'{cost.macs / 1e9:.2f}', f'{cost.activations / 1e6:.1f}'])
    text.align, text.align['component'] = 'r', 'l'
    return str(text)


def cost_summary(costs: list[Cost]) -> dict[str, dict[str, float]]:
    """As json takes it."""
    return {cost.name: dict(parameters=cost.parameters, macs=cost.macs, activations=cost.activations) for cost in costs}
