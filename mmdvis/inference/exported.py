"""Models whose stages are exported graphs; only the graphs run in another runtime."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmdvis.errors import CheckpointError, OptionError
from mmdvis.models import track_orders
from mmdvis.models.detectors import DVIS, ClipPreprocessor
from mmdvis.registry import MODELS
from mmdvis.structures import FrameQueries, TrackQueries

from .export import DESCRIPTION, LONGEST, SUFFIXES
from .graphs import QUERIES

Run = Callable[..., tuple[Tensor, ...]]  # tensors in, tensors out


def open_graph(path: Path) -> Run:
    """Function that runs an exported graph on the CPU.

    Raises:
        CheckpointError: The file is missing or damaged.
        OptionError: The package of its format is not installed.
    """
    if not path.is_file():
        raise CheckpointError(f'{path.parent} has no {path.name}; export the model again')
    try:
        return dict(zip(SUFFIXES.values(), (open_onnx, open_openvino, open_program)))[path.suffix](path)
    except ImportError as error:
        raise OptionError(f'{path.name} needs the package {error.name}; pip install "mmdvis[export]"') from None
    except Exception as error:  # the runtimes raise different types
        raise CheckpointError(f'{path} cannot be read ({error}); export the model again') from None


def open_onnx(path: Path) -> Run:
    """Runs an ONNX file with onnxruntime, with as many threads as torch uses."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
    names = [value.name for value in session.get_inputs()]

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        feed = {name: np.ascontiguousarray(value.numpy()) for name, value in zip(names, inputs)}
        return tuple(torch.from_numpy(value) for value in session.run(None, feed))

    return run


def open_openvino(path: Path) -> Run:
    """Runs the files of OpenVINO in float32, with as many threads as torch uses."""
    import openvino

    settings = {'INFERENCE_PRECISION_HINT': 'f32', 'INFERENCE_NUM_THREADS': torch.get_num_threads()}
    compiled = openvino.Core().compile_model(str(path), 'CPU', settings)

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        results = compiled([np.ascontiguousarray(value.numpy()) for value in inputs])
        return tuple(torch.from_numpy(results[output].copy()) for output in compiled.outputs)

    return run


def open_program(path: Path) -> Run:
    """Runs a program of ``torch.export``."""
    module = torch.export.load(path).module()
    return lambda *inputs: tuple(module(*inputs))


def load_exported(folder: str | Path, options: Mapping[str, Any] | None = None) -> DVIS:
    """The model of a folder written by :func:`export_model`.

    Args:
        folder: The folder.
        options: Overrides of the config, e.g. ``{'model.postprocessor.score_thr': 0.3}``.

    Raises:
        CheckpointError: The folder is incomplete or damaged.
        OptionError: The package of the format is not installed.
    """
    path = Path(folder) / DESCRIPTION
    try:
        content = json.loads(path.read_text())
        settings, suffix = dict(content['model']), SUFFIXES[content['format']]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f'{path} cannot be read as the description of an exported model ({error})') from None
    for stage in ('segmenter', 'tracker', 'refiner'):
        if str(settings.get(stage, {}).get('type', '')).startswith('Graph'):
            settings[stage] = dict(settings[stage], folder=str(folder), suffix=suffix)
    config = Config(dict(model=settings))
    config.merge_from_dict(dict(options or {}))
    return MODELS.build(config.model).eval()


@MODELS.register_module()
class FixedSizePreprocessor(ClipPreprocessor):
    """Pads all frames to the size of an exported graph.

    Args:
        size: (height, width) of the graph.
        mean: See :class:`ClipPreprocessor`.
        std: See :class:`ClipPreprocessor`.
        fill: See :class:`ClipPreprocessor`.
    """

    def __init__(self, size: Sequence[int], mean: Sequence[float], std: Sequence[float], fill: str = 'zero') -> None:
        super().__init__(mean, std, fill=fill)
        self.size = (int(size[0]), int(size[1]))

    def padded(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size of the graph.

        Raises:
            ValueError: The frames are larger.
        """
        if size[0] > self.size[0] or size[1] > self.size[1]:
            raise ValueError(
                f'the model was exported for frames of up to {self.size[0]} x {self.size[1]} (height x width), got '
                f'{size[0]} x {size[1]}; resize them, or export it for another size'
            )
        return self.size


@MODELS.register_module()
class GraphSegmenter(nn.Module):
    """Segmenter that runs an exported graph, frame by frame.

    Args:
        folder: Folder of the exported model.
        suffix: Suffix of its graphs.
    """

    def __init__(self, folder: str, suffix: str) -> None:
        super().__init__()
        self.run = open_graph(Path(folder) / f'segmenter{suffix}')

    def forward(self, frames: Tensor, present: Tensor | None = None) -> FrameQueries:
        """Queries of normalised frames (B, T, 3, H, W)."""
        results = [self.run(frame[None]) for frame in frames.flatten(0, 1)]
        values = [torch.stack(values).unflatten(0, frames.shape[:2]) for values in zip(*results)]
        present = torch.ones(frames.shape[:2], dtype=torch.bool) if present is None else present
        return FrameQueries(**dict(zip(QUERIES, values)), present=present)

    def mask_features(self, frames: Tensor) -> Tensor:
        """Mask features (B, T, M, h, w) of normalised frames (B, T, 3, H, W)."""
        return self(frames).mask_features


@dataclass(frozen=True, eq=False)
class GraphState:
    """State of :class:`GraphTracker` between clips.

    Attributes:
        match_embeds: Embeddings (1, Q, D) of the segmenter for the last frame, in track order.
        outputs: Outputs (Q, C) of the tracker for the last frame.
    """

    match_embeds: Tensor
    outputs: Tensor


@MODELS.register_module()
class GraphTracker(nn.Module):
    """Referring tracker that runs exported graphs; queries are assigned to tracks outside of them.

    Args:
        folder: Folder of the exported model.
        suffix: Suffix of its graphs.
        start: See :class:`DVISTracker`.
        context: See :class:`DVISTracker`.
        normed_outputs: See :class:`DVISTracker`.
        legacy_inverse_match: See :class:`DVISTracker`.
    """

    def __init__(
        self, folder: str, suffix: str, start: str, context: str, normed_outputs: bool, legacy_inverse_match: bool
    ) -> None:
        super().__init__()
        self.first, self.next = (open_graph(Path(folder) / f'tracker_{name}{suffix}') for name in ('first', 'next'))
        self.start, self.context = start, context
        self.normed_outputs, self.legacy_inverse_match = normed_outputs, legacy_inverse_match

    def forward(self, queries: FrameQueries, state: GraphState | None = None) -> tuple[TrackQueries, GraphState]:
        """Tracks of a clip, and the state after it.

        Raises:
            ValueError: There are several videos, or frames are padding.
        """
        if len(queries.present) > 1 or not queries.present.all():
            raise ValueError('an exported model processes one video at a time; set the batch size to 1')
        match = queries.match_embeds
        orders = torch.arange(match.shape[2]).expand(1, match.shape[1], -1)
        if self.start != 'unmatched':
            before = None if state is None else state.match_embeds
            orders = track_orders(match, before, self.legacy_inverse_match)
        aligned = queries.embeds.take_along_dim(orders[..., None], 2)[0]
        last = None if state is None else state.outputs
        steps: list[tuple[Tensor, ...]] = []
        contexts: list[Tensor] = []
        for own, frame in zip(aligned, queries.embeds[0]):
            steps.append(self.first(own, frame) if last is None else self.next(own, frame, last))
            last = steps[-1][0]
            contexts.append(self.first(frame, frame)[1] if self.context == 'first_frame' else frame)
        outputs, normed, logits, embeds, bias = (torch.stack(values)[None] for values in zip(*steps))
        tracks = TrackQueries(
            ids=torch.arange(outputs.shape[2]),
            valid=queries.present[..., None].expand(outputs.shape[:3]),
            embeds=normed if self.normed_outputs else outputs,
            class_logits=logits,
            mask_embeds=embeds,
            mask_bias=bias,
            mask_features=queries.mask_features,
            context=torch.stack(contexts)[None],
        )
        return tracks, GraphState(match[:, -1].take_along_dim(orders[:, -1, :, None], 1), steps[-1][0])


@MODELS.register_module()
class GraphRefiner(nn.Module):
    """Refiner that runs an exported graph on clips in which all tracks are valid.

    Args:
        folder: Folder of the exported model.
        suffix: Suffix of its graphs.
    """

    def __init__(self, folder: str, suffix: str) -> None:
        super().__init__()
        self.run = open_graph(Path(folder) / f'refiner{suffix}')

    def forward(self, tracks: TrackQueries) -> TrackQueries:
        """Refined tracks."""
        frames = tracks.valid.shape[1]
        if frames > LONGEST:
            raise ValueError(f'an exported refiner takes up to {LONGEST} frames, got {frames}; set clip_len')
        embeds, logits, masks = self.run(tracks.embeds[0], tracks.context[0])
        return replace(
            tracks,
            embeds=embeds[None],
            class_logits=logits.expand(1, frames, *logits.shape),
            mask_embeds=masks[None],
            mask_bias=torch.zeros_like(tracks.mask_bias),
        )
