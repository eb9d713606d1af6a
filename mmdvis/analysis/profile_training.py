"""Measures time and memory of the parts of a training step."""

import math
import time
from typing import Any

import torch
from torch import Tensor

from mmdvis.inference.optimize_for_inference import DTYPES
from mmdvis.models.detectors import DVIS
from mmdvis.results import VideoDataSample
from mmdvis.structures import STAGES

from .profile_inference import Usage, peak_above, random_video, reset_peak_memory, synchronize


def training_batch(clips: int, frames: int, size: int, objects: int, classes: int) -> dict[str, Any]:
    """Synthetic batch in the format of the data loader.

    Frames are square noise images, tiled with objects that move by one pixel per frame.

    Args:
        clips: Number of clips B.
        frames: Number of frames T of each clip.
        size: Height and width of the frames in pixels.
        objects: Number of objects in each clip.
        classes: Number of classes K, assigned to the objects in turn.
    """
    columns = math.ceil(math.sqrt(objects))
    cell = torch.arange(size) * columns // size
    tiles = (cell[:, None] * columns + cell) % objects + 1
    maps = torch.stack([tiles.roll((t, t), (0, 1)) for t in range(frames)])[None].short()
    ids = torch.arange(1, objects + 1)
    samples = [VideoDataSample(gt_index_maps=maps, gt_ids=ids, gt_labels=(ids - 1) % classes) for _ in range(clips)]
    return dict(inputs=list(random_video(clips * frames, (size, size)).split(frames)), data_samples=samples)


def profile_training(model: DVIS, batch: dict[str, Any], precision: str, steps: int = 2) -> Usage:
    """Measures the seconds of each part of a training step and the peak memory, after one warm-up step.

    Args:
        model: Model in training mode.
        batch: See :func:`training_batch`.
        precision: ``'fp32'``, ``'bf16'`` or ``'fp16'``. The latter two use autocast, as ``tools/train.py --amp``, and
            channels-last convolutions; weights stay in float32.
        steps: Number of timed steps; the fastest one is reported.

    Returns:
        Seconds of the frozen stages, the trainable stage with its loss, the backward pass, the optimizer update and
        the whole step; peak memory above that of the model, including the optimizer state.
    """
    device, trainable = model.data_preprocessor.mean.device, [p for p in model.parameters() if p.requires_grad]
    if precision != 'fp32':
        model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(trainable, 1e-4, weight_decay=0.05)
    step_times: list[dict[str, float]] = []
    baseline = reset_peak_memory(device)
    profile_step(model, batch, precision, optimizer, {})
    reset_peak_memory(device)
    for _ in range(steps):
        spent: dict[str, float] = {}
        profile_step(model, batch, precision, optimizer, spent)
        step_times.append(spent)
    return Usage(min(step_times, key=lambda x: x['all']), *peak_above(baseline, device))


def training_lower_bounds(floor: dict[str, float], model: DVIS, frames: int) -> dict[str, float]:
    """Lower bound on the seconds of each part of a training step.

    The backward pass takes two matrix multiplications for each one of the forward pass.

    Args:
        floor: See :func:`mmdvis.analysis.profile_inference.lower_bounds`.
        model: Model whose ``trainable`` stages are trained; stages after the last trainable one do not run.
        frames: Total number of frames of all clips.
    """
    stage_seconds = dict.fromkeys(STAGES, 0.0)
    for name, seconds in floor.items():
        stage_seconds[name if name in STAGES else STAGES[0]] += frames * seconds
    trainable_seconds = sum(stage_seconds[name] for name in model.trainable)
    frozen_seconds = sum(
        stage_seconds[name] for name in STAGES[: STAGES.index(model.trainable[-1])] if name not in model.trainable
    )
    return {
        'frozen stages': frozen_seconds,
        'learning stage and loss': trainable_seconds,
        'gradients': 2 * trainable_seconds,
    }


def profile_step(
    model: DVIS, batch: dict[str, Any], precision: str, optimizer: torch.optim.Optimizer, spent: dict[str, float]
) -> None:
    """Runs one training step.

    Args:
        model: Model in training mode.
        batch: See :func:`training_batch`.
        precision: See :func:`profile_training`.
        optimizer: Optimizer of the trainable parameters.
        spent: Dict that receives the seconds of each part.
    """
    device = model.data_preprocessor.mean.device
    timer = LapTimer(device, spent)
    start = timer.last
    handles = [stage.register_forward_hook(lambda *_: timer.lap('frozen stages')) for _, stage in model.frozen_stages()]
    with torch.autocast(device.type, DTYPES[precision], enabled=precision != 'fp32'):
        losses = model(**model.data_preprocessor(batch, True), mode='loss')
        loss: Tensor = sum(losses.values())
    timer.lap('learning stage and loss')
    loss.backward()
    timer.lap('gradients')
    torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group['params']], 0.01)
    optimizer.step()
    optimizer.zero_grad()
    timer.lap('update')
    spent['all'] = timer.last - start
    for handle in handles:
        handle.remove()


class LapTimer:
    """Accumulates the seconds between laps by name."""

    def __init__(self, device: torch.device, spent: dict[str, float]) -> None:
        synchronize(device)
        self.device, self.spent, self.last = device, spent, time.perf_counter()

    def lap(self, name: str) -> None:
        """Adds the seconds since the last lap to ``name``."""
        synchronize(self.device)
        now = time.perf_counter()
        self.spent[name] = self.spent.get(name, 0.0) + now - self.last
        self.last = now
