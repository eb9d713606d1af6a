"""Measures inference time and memory of each component and compares them with a lower bound for the machine."""

import ctypes
import gc
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from prettytable import PrettyTable
from torch import Tensor, nn

from mmdvis.inference import optimize_for_inference
from mmdvis.inference.int8_linear import Int8Linear
from mmdvis.io import ArrayFrames, ResizedFrames, VideoFileFrames
from mmdvis.models.detectors import DVIS
from mmdvis.registry import MODELS
from mmdvis.results import VideoDataSample
from mmdvis.structures import FrameSource
from mmdvis.structures.linear import linear

from .flops import EXPANSION, macs_and_gathers, rest_name, segmenter_parts
from .forced_segments import force_segments

LIBC, CLEAR = ctypes.CDLL(None), '/proc/self/clear_refs'
BYTES = dict(fp32=4, bf16=2, fp16=2, int8=4)  # of the values that deformable attention gathers


@dataclass(frozen=True)
class Throughput:
    """Measured throughput of the machine.

    Attributes:
        products: Precision -> FLOP/s of large matrix multiplications.
        gathered: Bytes per second read by weighted sums of rows.
    """

    products: dict[str, float]
    gathered: float


@dataclass(frozen=True)
class Usage:
    """Time and memory of a run.

    Attributes:
        seconds: Component -> seconds per frame; ``'all'`` is the total.
        host: Peak host memory in bytes above the memory before the first run; NaN if the operating system cannot reset
            the peak.
        device: Peak GPU memory in bytes above the memory before the first run; 0 on the CPU.
    """

    seconds: dict[str, float]
    host: float
    device: int


def best_of(run: Callable[[], Any], device: torch.device, times: int = 5) -> float:
    """Shortest duration in seconds of ``times`` runs, after one warm-up run."""
    durations = []
    for _ in range(times + 1):
        synchronize(device)
        start = time.perf_counter()
        run()
        synchronize(device)
        durations.append(time.perf_counter() - start)
    return min(durations[1:])


def synchronize(device: torch.device) -> None:
    """Waits until all work on a device is finished."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def product_rate(duration: Callable[[int], float], size: int, limit: float = 2.0) -> float:
    """Operations per second of a matrix product.

    CPUs without bfloat16 instructions multiply such matrices about a hundred times slower than float32 ones; where a
    large product would take longer than ``limit`` seconds, a small one is measured.

    Args:
        duration: Seconds of one product, size x size x size.
        size: Size of the large product; that of the small one is an eighth of it.
        limit: Longest duration of a large product in seconds.
    """
    small, operations = size // 8, 2 * size**3
    rate = 2 * small**3 / duration(small)
    return rate if operations / rate > limit else operations / duration(size)


def measure_throughput(device: torch.device, size: int = 2048) -> Throughput:
    """Measures the throughput of linear layers (see :func:`product_rate`) and of weighted sums of 32-element rows."""

    def duration(edge: int, dtype: torch.dtype) -> float:
        a, b = (torch.randn(edge, edge, device=device).to(dtype) for _ in range(2))
        return best_of(lambda: linear(a, b, None), device)

    def int8_duration(edge: int) -> float:
        layer, x = Int8Linear(nn.Linear(edge, edge, bias=False)), torch.randn(edge, edge)
        return best_of(lambda: layer(x), device)

    matmul_rates = {
        name: product_rate(partial(duration, dtype=dtype), size)
        for name, dtype in (('fp32', torch.float32), ('bf16', torch.bfloat16))
    }
    if device.type == 'cpu' and torch.backends.mkldnn.is_available():
        matmul_rates['int8'] = product_rate(int8_duration, size)
    table = torch.randn(40000, 32, device=device)
    rows = torch.randint(len(table), (40000, 48), dtype=torch.int32, device=device)
    weights = torch.rand(rows.shape, device=device)
    seconds = best_of(lambda: F.embedding_bag(rows, table, mode='sum', per_sample_weights=weights), device)
    return Throughput(matmul_rates, 4 * rows.numel() * table.shape[1] / seconds)


def components(model: DVIS) -> dict[str, nn.Module]:
    """Modules of the model that are timed individually; absent ones are left out."""
    modules = {
        **segmenter_parts(model.segmenter),
        'segmenter': model.segmenter,
        'tracker': model.tracker,
        'refiner': model.refiner,
        'postprocessor': model.postprocessor,
    }
    return {name: module for name, module in modules.items() if module is not None}


def profile_inference(model: DVIS, source: FrameSource, device: torch.device) -> Usage:
    """Measures time and memory of one prediction, after a warm-up with at most two frames.

    Mask features that are recomputed or enlarged for the masks are counted as part of the postprocessor.

    Args:
        model: Model in evaluation mode.
        source: Video to predict.
        device: Device of the model.
    """
    baseline = reset_peak_memory(device)
    model.predict([ArrayFrames(source.read(0, min(2, len(source))))], [VideoDataSample()])
    stop_watch = StopWatch(device)
    for name, module in components(model).items():
        stop_watch.follow(name, module, outermost=name == 'postprocessor')
    reset_peak_memory(device)
    start = time.perf_counter()
    (sample,) = model.predict([source], [VideoDataSample()])
    for result in sample.values():
        for index in range(len(source)):
            result.frame(index)  # maps are made when they are asked for
    synchronize(device)
    seconds_of = dict(stop_watch.spent, all=time.perf_counter() - start)
    host_bytes, device_bytes = peak_above(baseline, device)
    stop_watch.stop()
    parts = segmenter_parts(model.segmenter)
    seconds_of[rest_name(model.segmenter)] = seconds_of.pop('segmenter') - sum(seconds_of[name] for name in parts)
    seconds_of['rest'] = seconds_of['all'] - sum(seconds for name, seconds in seconds_of.items() if name != 'all')
    return Usage({name: seconds / len(source) for name, seconds in seconds_of.items()}, host_bytes, device_bytes)


class StopWatch:
    """Measures the duration of module calls with forward hooks.

    Attributes:
        spent: Name -> seconds.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.is_closed = device, False
        self.spent: dict[str, float] = {}
        self.handles: list[Any] = []

    def follow(self, name: str, module: nn.Module, outermost: bool = False) -> None:
        """Starts timing the calls of a module.

        Args:
            name: Key of the module in ``spent``.
            module: Module to time.
            outermost: Pause the timing of all other modules while this one runs.
        """
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
        """Removes all hooks."""
        for handle in self.handles:
            handle.remove()


def process_status(name: str) -> int:
    """Value in bytes of a field of ``/proc/self/status``; 0 if the operating system has no such file."""
    if not os.path.exists('/proc/self/status'):
        return 0
    with open('/proc/self/status') as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ':'))


def reset_peak_memory(device: torch.device) -> tuple[int, int]:
    """Resets the peak memory and returns the bytes in use on host and device."""
    gc.collect()
    if hasattr(LIBC, 'malloc_trim'):
        LIBC.malloc_trim(0)  # returns free memory to the system, so that it is counted when it is allocated again
    if can_reset_peak():
        with open(CLEAR, 'w') as file:
            file.write('5')
    if device.type != 'cuda':
        return process_status('VmRSS'), 0
    torch.cuda.reset_peak_memory_stats(device)
    return process_status('VmRSS'), torch.cuda.memory_allocated(device)


def can_reset_peak() -> bool:
    """Whether the operating system can reset the peak memory of a process (Linux)."""
    return os.access(CLEAR, os.W_OK)


def peak_memory(device: torch.device) -> tuple[float, int]:
    """Peak bytes on host and device since :func:`reset_peak_memory`; NaN for the host if its peak cannot be reset."""
    host = float(process_status('VmHWM')) if can_reset_peak() else math.nan
    return host, torch.cuda.max_memory_allocated(device) if device.type == 'cuda' else 0


def peak_above(baseline: tuple[int, int], device: torch.device) -> tuple[float, int]:
    """Bytes of :func:`peak_memory` above those of :func:`reset_peak_memory`; 0 on the host if memory was released."""
    host, on_device = peak_memory(device)
    return max(host - baseline[0], 0.0), on_device - baseline[1]


def online_model(config_path: str, kept: int, precision: str | None = 'fp32') -> DVIS:
    """A model with random weights and without its refiner, whose first rows become segments.

    Args:
        config_path: Path of the config of a model.
        kept: Number of rows that become segments; see :func:`force_segments`.
        precision: Precision for which it is optimised; None leaves it as it is.
    """
    config = Config.fromfile(config_path)
    config.model.refiner = None
    config.model.postprocessor.overlap_thr = 0.0
    torch.manual_seed(0)
    model = MODELS.build(config.model).eval()
    if precision is not None:
        model = optimize_for_inference(model, precision)
    force_segments(model, kept)
    return model


def lower_bounds(
    model: DVIS, size: tuple[int, int], machine: Throughput, precision: str, frames: int = 5
) -> dict[str, float]:
    """Lower bound on the seconds per frame of each component.

    It is the time of the multiply-adds at the measured matrix multiplication rate, plus the time of the bytes read by
    deformable sampling.

    Args:
        model: Model; its segmenter is moved to the meta device, so the model cannot be used afterwards.
        size: (height, width) of the frames before padding.
        machine: Measured throughput.
        precision: ``'fp32'``, ``'bf16'``, ``'fp16'`` or ``'int8'``.
        frames: Length of the clip over which tracker and refiner are averaged.
    """
    rate, width = machine.products['bf16' if precision == 'fp16' else precision], BYTES[precision]
    return {
        'postprocessor' if name == EXPANSION else name: 2 * products / rate + width * gathered / machine.gathered
        for name, (products, gathered) in macs_and_gathers(model, size, frames).items()
    }


def usage_table(
    found: Usage, floor: dict[str, float], baseline: Usage | None = None, unit: str = 'frame'
) -> PrettyTable:
    """Table of milliseconds per ``unit`` and component.

    Args:
        found: Measured usage.
        floor: Component -> lower bound in seconds.
        baseline: Usage of the baseline, shown with the ratio of both times; None leaves it out.
        unit: Unit of the times in the header.
    """
    baseline_columns = ['plain ms', 'plain / ours'] if baseline else []
    table = PrettyTable(['component', f'ms / {unit}', 'lower bound ms', *baseline_columns])
    table.align = 'r'
    table.align['component'] = 'l'
    for name in sorted(found.seconds, key=lambda name: name == 'all'):
        seconds, lower_bound = found.seconds[name], floor.get(name, sum(floor.values()) if name == 'all' else 0.0)
        baseline_cells = (
            []
            if baseline is None
            else [f'{1e3 * baseline.seconds[name]:.1f}', f'{baseline.seconds[name] / seconds:.2f}']
        )
        table.add_row([name, f'{1e3 * seconds:.1f}', f'{1e3 * lower_bound:.1f}', *baseline_cells])
    return table


def run_in_subprocess(*arguments: Any) -> Any:
    """Runs this script with additional arguments in a subprocess and parses its last output line as JSON.

    A separate process is used so that every measurement starts with a fresh memory peak.

    Raises:
        SystemExit: If the process failed; its own error message is on stderr.
    """
    process = subprocess.run([sys.executable, *sys.argv, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    if process.returncode:
        raise SystemExit(f'{" ".join(map(str, arguments))}: the process failed with exit code {process.returncode}')
    return json.loads(process.stdout.splitlines()[-1])


def first_frames(video: str | None, frames: int, short: int) -> Tensor:
    """First frames of a video with short edge ``short``, uint8 (T, 3, H, W); 16:9 noise if ``video`` is None."""
    if video is None:
        return random_video(frames, (short, round(short * 16 / 9)))
    return ResizedFrames(VideoFileFrames(video), short).read(0, frames)


def random_video(frames: int, size: tuple[int, int]) -> Tensor:
    """Noise frames, uint8 (T, 3, H, W); always the same values."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (frames, 3, *size), dtype=torch.uint8, generator=generator)
