"""Parameters, multiply-adds and activations of a model, by component and frame."""
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Tuple

import torch
from prettytable import PrettyTable
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from mmdvis.models import DVIS
from mmdvis.structures import FrameQueries

aten = torch.ops.aten
BAGS = (aten._embedding_bag, aten._embedding_bag_forward_only)  # with and without gradients
PRODUCTS = {aten.convolution, aten.mm, aten.addmm, aten.bmm, aten.baddbmm, *BAGS,
            aten._scaled_dot_product_flash_attention_for_cpu, aten._scaled_dot_product_flash_attention,
            aten._scaled_dot_product_efficient_attention, aten._scaled_dot_product_fused_attention_overrideable}


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
        if func._overloadpacket in PRODUCTS:
            self.total += (found[0] if isinstance(found, (tuple, list)) else found).numel()
        return found


def bag_flops(weight: Any, indices: Any, *rest: object, out_shape: Any = None, **more: object) -> int:
    """Of a weighted sum of rows: one multiply-add for each number read."""
    return 2 * indices[0] * weight[1]


def cpu_attention_flops(query: Any, key: Any, value: Any, *rest: object, out_shape: Any = None, **more: object) -> int:
    """Of the fused attention on CPU, which the library's counter does not know."""
    return sdpa_flop_count(query, key, value)


OWN = {**{bag: bag_flops for bag in BAGS}, aten._scaled_dot_product_flash_attention_for_cpu: cpu_attention_flops}


def measured(run: Callable[[], Any]) -> Tuple[Any, float, int]:
    """The result of ``run``, its multiply-adds and the numbers its products put out."""
    counter = FlopCounterMode(display=False, custom_mapping=OWN)
    outputs = OutputCounter()
    with torch.no_grad(), counter, outputs:
        result = run()
    return result, counter.get_total_flops() / 2, outputs.total


def number_of(*modules: nn.Module) -> int:
    """Parameters of modules; None has none."""
    return sum(p.numel() for module in modules if module is not None for p in module.parameters())


def model_cost(model: DVIS, size: Tuple[int, int], frames: int = 5) -> List[Cost]:
    """The cost of every component.

    The segmenter runs on tensors without memory, so the largest models can be measured anywhere; tracker and refiner, whose
    matching needs numbers, run on random ones.

    Args:
        model: on any device; moved to the meta device, so it is of no use afterwards.
        size: (height, width) of the frames, which are padded as the model pads them.
        frames: of the clip over which tracker and refiner are averaged.
    """
    model = model.eval()
    tracker, height_width = model.tracker, model.data_preprocessor.padded(size)
    segmenter = model.segmenter.to('meta')
    images = torch.empty(1, 3, *height_width, device='meta')
    maps, backbone_macs, backbone_out = measured(lambda: segmenter.backbone(images))
    (features, _), pixel_macs, pixel_out = measured(lambda: segmenter.pixel_decoder(maps))
    queries, macs, outputs = measured(lambda: segmenter(images[None]))
    heads = number_of(segmenter) - number_of(segmenter.backbone, segmenter.pixel_decoder)
    found = [Cost('backbone', number_of(segmenter.backbone), backbone_macs, backbone_out),
             Cost('pixel decoder', number_of(segmenter.pixel_decoder), pixel_macs, pixel_out),
             Cost('transformer decoder and heads', heads, macs - backbone_macs - pixel_macs,
                  outputs - backbone_out - pixel_out)]
    given = clip_of(queries, frames)
    if number_of(tracker):
        (tracks, _), macs, outputs = measured(lambda: tracker(given))
        found.append(Cost('tracker', number_of(tracker), macs / frames, outputs / frames))
        if model.refiner is not None:
            _, macs, outputs = measured(lambda: model.refiner(tracks))
            found.append(Cost('refiner', number_of(model.refiner), macs / frames, outputs / frames))
    return found


def clip_of(queries: FrameQueries, frames: int) -> FrameQueries:
    """Random queries of the shapes of one frame's, for a clip; the mask features are tiny, because masks are not made here."""
    def like(x: Tensor) -> Tensor:
        return torch.randn(1, frames, *x.shape[2:])
    features = torch.zeros(1, frames, queries.mask_features.shape[2], 2, 2)
    return FrameQueries(like(queries.embeds), like(queries.match_embeds), like(queries.class_logits), like(queries.mask_embeds),
                        features, torch.ones(1, frames, dtype=torch.bool))


def table(costs: List[Cost]) -> str:
    """A row for every component, and their sum."""
    text = PrettyTable(['component', 'parameters', 'G multiply-adds a frame', 'M activations a frame'])
    total = Cost('all', sum(c.parameters for c in costs), sum(c.macs for c in costs), sum(c.activations for c in costs))
    for cost in (*costs, total):
        text.add_row([cost.name, f'{cost.parameters:,}', f'{cost.macs / 1e9:.2f}', f'{cost.activations / 1e6:.1f}'])
    text.align, text.align['component'] = 'r', 'l'
    return str(text)


def summary(costs: List[Cost]) -> Dict[str, Dict[str, float]]:
    """As json takes it."""
    return {cost.name: dict(parameters=cost.parameters, macs=cost.macs, activations=cost.activations) for cost in costs}
