"""Time and memory of a training step, by part."""

import math
import time
from typing import Any

import torch
from torch import Tensor

from mmdvis.apis.optimize_for_inference import DTYPES
from mmdvis.models.detectors import DVIS
from mmdvis.structures import STAGES, VideoDataSample

from .profile_inference import Usage, peak_memory, random_video, reset_peak_memory, synchronize


def training_batch(clips: int, frames: int, size: int, objects: int, classes: int) -> dict[str, Any]:
    """What a data loader would give: clips of noise, squares of ``size``, tiled by objects that wander a pixel a frame.

    Args:
        clips, frames, size: B, T, and the edge of frames in pixels.
        objects: in each clip.
        classes: K; objects take them in turn.
    """
    columns = math.ceil(math.sqrt(objects))
    cell = torch.arange(size) * columns // size
    tiles = (cell[:, None] * columns + cell) % objects + 1
    maps = torch.stack([tiles.roll((t, t), (0, 1)) for t in range(frames)])[None].short()
    ids = torch.arange(1, objects + 1)
    samples = [VideoDataSample(gt_index_maps=maps, gt_ids=ids, gt_labels=(ids - 1) % classes) for _ in range(clips)]
    return dict(inputs=list(random_video(clips * frames, (size, size)).split(frames)), data_samples=samples)


def profile_training(model: DVIS, batch: dict[str, Any], precision: str, steps: int = 2) -> Usage:
    """What training steps take after one that does not count: seconds of a step, by part, and peak memory.

    Args:
        model: in training mode.
        batch: see :func:`training_batch`.
        precision: as ``tools/train.py --amp``: of products, with convolutions channels last; weights stay float32.
        steps: steps that are timed; the quickest counts.

    Returns:
        seconds of the frozen stages, of the learning stage with its loss, of gradients, of the update, and of all; memory over
        the model, so with the moments of the optimizer.
    """
    device, learning = model.data_preprocessor.mean.device, [p for p in model.parameters() if p.requires_grad]
    if precision != 'fp32':
        model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(learning, 1e-4, weight_decay=0.05)
    found: list[dict[str, float]] = []
    resident = reset_peak_memory(device)
    profile_step(model, batch, precision, optimizer, {})
    reset_peak_memory(device)
    for _ in range(steps):
        spent: dict[str, float] = {}
        profile_step(model, batch, precision, optimizer, spent)
        found.append(spent)
    host, on_device = peak_memory(device)
    return Usage(min(found, key=lambda x: x['all']), host - resident[0], on_device - resident[1])


def training_lower_bounds(floor: dict[str, float], model: DVIS, frames: int) -> dict[str, float]:
    """The least seconds of a step from those of each component and frame: gradients take two products for each one.

    Args:
        floor: see :func:`mmdvis.analysis.profile_inference.lower_bounds`.
        model: which says what learns; later stages do not run.
        frames: of all clips together.
    """
    stages = dict.fromkeys(STAGES, 0.0)
    for name, seconds in floor.items():
        stages[name if name in STAGES else STAGES[0]] += frames * seconds
    learning = sum(stages[name] for name in model.trainable)
    before = sum(stages[name] for name in STAGES[: STAGES.index(model.trainable[-1])] if name not in model.trainable)
    return {'frozen stages': before, 'learning stage and loss': learning, 'gradients': 2 * learning}


def profile_step(
    model: DVIS, batch: dict[str, Any], precision: str, optimizer: torch.optim.Optimizer, spent: dict[str, float]
) -> None:
    """One step; fills ``spent``."""
    device = model.data_preprocessor.mean.device
    clock = LapTimer(device, spent)
    begun = clock.last
    handles = [stage.register_forward_hook(lambda *_: clock.lap('frozen stages')) for _, stage in model.frozen_stages()]
    with torch.autocast(device.type, DTYPES[precision], enabled=precision != 'fp32'):
        losses = model(**model.data_preprocessor(batch, True), mode='loss')
        total: Tensor = sum(losses.values())
    clock.lap('learning stage and loss')
    total.backward()
    clock.lap('gradients')
    torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group['params']], 0.01)
    optimizer.step()
    optimizer.zero_grad()
    clock.lap('update')
    spent['all'] = clock.last - begun
    for handle in handles:
        handle.remove()


class LapTimer:
    """Adds up the seconds since the last lap under a name."""

    def __init__(self, device: torch.device, spent: dict[str, float]) -> None:
        synchronize(device)
        self.device, self.spent, self.last = device, spent, time.perf_counter()

    def lap(self, name: str) -> None:
        """What was done since the last lap is called ``name``."""
        synchronize(self.device)
        now = time.perf_counter()
        self.spent[name] = self.spent.get(name, 0.0) + now - self.last
        self.last = now
