"""Times and memory of a model, by component, beside what the machine could do at best."""

import ctypes
import gc
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from prettytable import PrettyTable
from torch import Tensor, nn

from mmdvis.io import ArrayFrames, ResizedFrames, VideoFileFrames
from mmdvis.models.detectors import DVIS
from mmdvis.structures import FrameSource, VideoDataSample

from .flops import HEADS, macs_and_gathers

LIBC, CLEAR = ctypes.CDLL(None), '/proc/self/clear_refs'
BYTES = dict(fp32=4, bf16=2, fp16=2)


@dataclass(frozen=True)
class Throughput:
    """What the machine does in this run.

    Attributes:
        products: precision -> multiply-adds a second of large matrix products, times two.
        gathered: bytes a second of weighted sums of rows.
    """

    products: dict[str, float]
    gathered: float


@dataclass(frozen=True)
class Usage:
    """What a run took.

    Attributes:
        seconds: component -> seconds a frame; ``'all'``: everything.
        host, device: peak bytes over what there was before the first run; device is 0 on the CPU, host is not a number where
            the system does not forget an earlier peak.
    """

    seconds: dict[str, float]
    host: float
    device: int


def best_of(run: Callable[[], Any], device: torch.device, times: int = 5) -> float:
    """The shortest of some runs in seconds, after one that does not count."""
    found = []
    for _ in range(times + 1):
        synchronize(device)
        start = time.perf_counter()
        run()
        synchronize(device)
        found.append(time.perf_counter() - start)
    return min(found[1:])


def synchronize(device: torch.device) -> None:
    """Waits for a device."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def measure_throughput(device: torch.device, size: int = 2048) -> Throughput:
    """Rates of products (size x size x size) and of gathering rows of 32 numbers."""
    products = {}
    for name, dtype in (('fp32', torch.float32), ('bf16', torch.bfloat16)):
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        products[name] = 2 * size**3 / best_of(lambda: a @ b, device)
    table = torch.randn(40000, 32, device=device)
    rows = torch.randint(len(table), (40000, 48), dtype=torch.int32, device=device)
    share = torch.rand(rows.shape, device=device)
    seconds = best_of(lambda: F.embedding_bag(rows, table, mode='sum', per_sample_weights=share), device)
    return Throughput(products, 4 * rows.numel() * table.shape[1] / seconds)


def components(model: DVIS) -> dict[str, nn.Module]:
    """The parts that are timed by themselves."""
    segmenter = model.segmenter
    found = {
        'backbone': segmenter.backbone,
        'pixel decoder': segmenter.pixel_decoder,
        'segmenter': segmenter,
        'tracker': model.tracker,
        'refiner': model.refiner,
        'postprocessor': model.postprocessor,
    }
    return {name: module for name, module in found.items() if module is not None}


def profile_inference(model: DVIS, source: FrameSource, device: torch.device) -> Usage:
    """Times and memory of one prediction, after a short one that does not count; the model is in evaluation mode.

    Mask features that are made again for the masks count with the postprocessor.
    """
    resident = reset_peak_memory(device)
    model.predict([ArrayFrames(source.read(0, min(2, len(source))))], [VideoDataSample()])
    watch = StopWatch(device)
    for name, module in components(model).items():
        watch.follow(name, module, outermost=name == 'postprocessor')
    reset_peak_memory(device)
    start = time.perf_counter()
    (sample,) = model.predict([source], [VideoDataSample()])
    for result in sample.values():
        for index in range(len(source)):
            result.frame(index)  # maps are made when they are asked for
    synchronize(device)
    spent = dict(watch.spent, all=time.perf_counter() - start)
    host, on_device = peak_memory(device)
    watch.stop()
    spent[HEADS] = spent.pop('segmenter') - spent['backbone'] - spent['pixel decoder']
    spent['rest'] = spent['all'] - sum(seconds for name, seconds in spent.items() if name != 'all')
    return Usage(
        {name: seconds / len(source) for name, seconds in spent.items()}, host - resident[0], on_device - resident[1]
    )


class StopWatch:
    """Seconds that modules take.

    Attributes:
        spent: name -> seconds.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.is_closed = device, False
        self.spent: dict[str, float] = {}
        self.handles: list[Any] = []

    def follow(self, name: str, module: nn.Module, outermost: bool = False) -> None:
        """Times the calls of a module; while one that is ``outermost`` runs, no other is timed."""
        self.spent[name] = 0.0

        def before(*_: Any) -> None:
            if outermost or not self.is_closed:
                synchronize(self.device)
                self.spent[name] -= time.perf_counter()
            self.is_closed |= outermost

        def after(*_: Any) -> None:
            if outermost or not self.is_closed:
                synchronize(self.device)
                self.spent[name] += time.perf_counter()
            self.is_closed &= not outermost

        self.handles += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]

    def stop(self) -> None:
        """Times no longer."""
        for handle in self.handles:
            handle.remove()


def process_status(name: str) -> int:
    """A line of this process's status in bytes; 0 where the system has none."""
    if not os.path.exists('/proc/self/status'):
        return 0
    with open('/proc/self/status') as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ':'))


def reset_peak_memory(device: torch.device) -> tuple[int, int]:
    """Forgets the peaks so far; bytes in use on host and device."""
    gc.collect()
    if hasattr(LIBC, 'malloc_trim'):
        LIBC.malloc_trim(0)  # gives back what is free, so that it counts again when it is used again
    if can_reset_peak():
        with open(CLEAR, 'w') as file:
            file.write('5')
    if device.type != 'cuda':
        return process_status('VmRSS'), 0
    torch.cuda.reset_peak_memory_stats(device)
    return process_status('VmRSS'), torch.cuda.memory_allocated(device)


def can_reset_peak() -> bool:
    """Whether the system lets a process forget its peak, as Linux does."""
    return os.access(CLEAR, os.W_OK)


def peak_memory(device: torch.device) -> tuple[float, int]:
    """Peak bytes since then on host and device; of the host not a number where peaks are not forgotten."""
    host = float(process_status('VmHWM')) if can_reset_peak() else math.nan
    return host, torch.cuda.max_memory_allocated(device) if device.type == 'cuda' else 0


def force_segments(model: DVIS, number: int) -> None:
    """Makes the first ``number`` queries certain objects of class 0, 1, 2, ... and all others no object.

    Random weights would give no segments. The scores are replaced by a hook of the postprocessor, whose ``overlap_thr`` must
    be 0 so that no segment is dropped.
    """
    model.postprocessor.register_forward_pre_hook(partial(with_forced_scores, number))


def with_forced_scores(number: int, postprocessor: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The inputs of a postprocessor with the scores that :func:`force_segments` describes."""
    prediction, *others = inputs
    scores = torch.zeros_like(prediction.scores)
    rows = torch.arange(min(number, scores.shape[-2]), device=scores.device)
    scores[..., len(rows) :, -1] = 1.0
    scores[..., rows, rows % (scores.shape[-1] - 1)] = 1.0
    return (replace(prediction, scores=scores), *others)


def lower_bounds(
    model: DVIS, size: tuple[int, int], machine: Throughput, precision: str, frames: int = 5
) -> dict[str, float]:
    """The least seconds a frame of each component: its products at the machine's rate, and the bytes it gathers.

    The model is moved to the meta device and of no use afterwards.
    """
    rate, width = machine.products['fp32' if precision == 'fp32' else 'bf16'], BYTES[precision]
    return {
        name: 2 * products / rate + width * gathered / machine.gathered
        for name, (products, gathered) in macs_and_gathers(model, size, frames).items()
    }


def usage_table(
    found: Usage, floor: dict[str, float], baseline: Usage | None = None, unit: str = 'frame'
) -> PrettyTable:
    """Milliseconds a frame, or what ``unit`` names, by component, with the floor and, if given, the baseline and its ratio."""
    extra = ['plain ms', 'plain / ours'] if baseline else []
    rows = PrettyTable(['component', f'ms / {unit}', 'floor ms', *extra])
    rows.align = 'r'
    rows.align['component'] = 'l'
    for name in sorted(found.seconds, key=lambda name: name == 'all'):
        seconds, least = found.seconds[name], floor.get(name, sum(floor.values()) if name == 'all' else 0.0)
        other = (
            []
            if baseline is None
            else [f'{1e3 * baseline.seconds[name]:.1f}', f'{baseline.seconds[name] / seconds:.2f}']
        )
        rows.add_row([name, f'{1e3 * seconds:.1f}', f'{1e3 * least:.1f}', *other])
    return rows


def run_in_subprocess(*arguments: Any) -> Any:
    """What this script, called with further arguments, prints as json in its last line: a process of its own has its own peak.

    Raises:
        SystemExit: the process failed; it has said why.
    """
    done = subprocess.run([sys.executable, *sys.argv, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f'{" ".join(map(str, arguments))}: the process ended with {done.returncode}')
    return json.loads(done.stdout.splitlines()[-1])


def first_frames(video: str | None, frames: int, short: int) -> Tensor:
    """The first frames of a video with a short edge of ``short``, uint8 (T, 3, H, W); without a video noise of 16 : 9."""
    if video is None:
        return random_video(frames, (short, round(short * 16 / 9)))
    return ResizedFrames(VideoFileFrames(video), short).read(0, frames)


def random_video(frames: int, size: tuple[int, int]) -> Tensor:
    """uint8 (T, 3, H, W) noise."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (frames, 3, *size), dtype=torch.uint8, generator=generator)
