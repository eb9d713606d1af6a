"""Exports the stages of a model to ONNX, OpenVINO or ``torch.export`` programs."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmdvis.checks import check_choice
from mmdvis.errors import OptionError
from mmdvis.io import replace_together, work_folder, write_json
from mmdvis.models.detectors import DVIS
from mmdvis.models.detectors.chain import is_stateful

from .graphs import QUERIES, REFINED, STEP, FirstStepGraph, NextStepGraph, RefinerGraph, SegmenterGraph, example_inputs
from .optimize_for_inference import has_float32_weights

SUFFIXES = dict(onnx='.onnx', openvino='.xml', torch_export='.pt2')
DESCRIPTION = 'model.json'  # file of an exported model that describes it
LONGEST = 4096  # frames that a refiner can process together
OPSET = 18


def export_model(model: DVIS, folder: str | Path, size: tuple[int, int], kind: str = 'onnx') -> Path:
    """Writes a model as graphs, with a description from which :class:`DVIS` is built again.

    The segmenter maps a normalised frame to its queries. The tracker has two graphs, for the first and for later
    frames, with the state as an input and an output; the assignment of queries to tracks is outside of them. The
    refiner takes clips of any length.

    Args:
        model: Model in evaluation mode.
        folder: Output folder; files of the same names are replaced.
        size: (height, width) of the frames that the segmenter processes, rounded up to multiples of the divisor.
        kind: Key of ``SUFFIXES``.

    Returns:
        The folder.

    Raises:
        OptionError: The model is not a DVIS model in float32 on the CPU, or the package of the format is not
            installed.
        ValueError: The format is unknown.
    """
    check_choice('format', kind, SUFFIXES)
    if not isinstance(model, DVIS):
        raise OptionError(f'only models of the type DVIS can be exported, got {type(model).__name__}')
    if not hasattr(model.segmenter, 'query_feat'):
        raise OptionError('this model is an exported one; export the model that it was made of')
    if is_stateful(model.segmenter):
        raise OptionError(
            f'models with {type(model.segmenter).__name__} cannot be exported, because their segmenter has a state; '
            'export a model whose segmenter processes each frame independently, such as EoMT or Mask2Former'
        )
    if not has_float32_weights(model) or next(model.parameters()).is_cuda:
        raise OptionError('only models in float32 on the CPU can be exported; load it again without other options')
    save, folder = writer(kind), Path(folder)
    height, width = model.data_preprocessor.padded(size)
    description = described(model, (height, width), kind)
    folder.mkdir(parents=True, exist_ok=True)
    with work_folder(folder) as work, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of the exporters, about their own parts
        for name, (graph, inputs, outputs, sizes, dynamic) in graphs_of(model, (height, width)).items():
            values = example_inputs(inputs, sizes)
            program = torch.export.export(graph.eval(), values, dynamic_shapes=dynamic, strict=False)
            save(program, work / f'{name}{SUFFIXES[kind]}', values, inputs, outputs)
        write_json(work / DESCRIPTION, description, indent=1)
        replace_together(work, folder)
    return folder


Sizes = dict[str, tuple[int, ...]]
Graph = tuple[nn.Module, tuple[str, ...], tuple[str, ...], Sizes, Any]


def graphs_of(model: DVIS, size: tuple[int, int]) -> dict[str, Graph]:
    """Name -> graph, names of its inputs and outputs, sizes of its inputs, and their dynamic dimensions."""
    queries, channels = model.segmenter.query_feat.weight.shape
    sizes: Sizes = dict(frame=(1, 3, *size))
    found: dict[str, Graph] = dict(segmenter=(SegmenterGraph(model.segmenter), ('frame',), QUERIES, sizes, None))
    if 'tracker' in model.parts():
        with torch.no_grad():
            width = SegmenterGraph(model.segmenter)(torch.zeros(1, 3, *size))[0].shape[1]  # more than C with reid
        step: Sizes = dict(aligned=(queries, width), frame=(queries, width), last=(queries, channels))
        found['tracker_first'] = (FirstStepGraph(model.tracker), ('aligned', 'frame'), STEP, step, None)
        found['tracker_next'] = (NextStepGraph(model.tracker), ('aligned', 'frame', 'last'), STEP, step, None)
    if model.refiner is not None:
        frames = torch.export.Dim('frames', min=1, max=LONGEST)
        clip: Sizes = dict(embeds=(3, queries, channels), context=(3, queries, channels))
        dynamic = dict(embeds={0: frames}, context={0: frames})
        found['refiner'] = (RefinerGraph(model.refiner), ('embeds', 'context'), REFINED, clip, dynamic)
    return found


def described(model: DVIS, size: tuple[int, int], kind: str) -> dict[str, Any]:
    """Content of ``model.json``: the format, and the config of the model with graphs as its stages."""
    tracker, post = model.tracker, model.postprocessor
    if post is None:
        raise OptionError('the model needs a postprocessor to be exported; set one in the config')
    stages: dict[str, Any] = dict(segmenter=dict(type='GraphSegmenter'))
    if 'tracker' in model.parts():
        options = {
            name: getattr(tracker, name) for name in ('start', 'context', 'normed_outputs', 'legacy_inverse_match')
        }
        stages['tracker'] = dict(type='GraphTracker', **options)
    else:
        first = tracker.first_channel
        last_channels = None if first is None else -first
        stages['tracker'] = dict(type='CosineTracker', last_channels=last_channels, memory=tracker.memory)
    if model.refiner is not None:
        stages['refiner'] = dict(type='GraphRefiner')
    options = {name: value for name, value in vars(post).items() if not name.startswith('_') and name != 'training'}
    nested = [name for name, value in options.items() if not isinstance(value, (int, float, str, bool, type(None)))]
    if nested or list(post.children()):
        raise OptionError(f'the postprocessor {type(post).__name__} cannot be exported with these options')
    preprocessor = model.data_preprocessor
    values = {name: getattr(preprocessor, name).flatten().tolist() for name in ('mean', 'std')}
    return dict(
        format=kind,
        size=list(size),
        model=dict(
            type='DVIS',
            num_classes=model.num_classes,
            **stages,
            postprocessor=dict(type=type(post).__name__, **options),
            data_preprocessor=dict(type='FixedSizePreprocessor', size=list(size), fill=preprocessor.fill, **values),
            dataset_meta=model.classes.meta,
            clip_len=model.options.clip_len,
            causal=model.options.causal,
        ),
    )


Writer = Callable[[Any, Path, tuple[Tensor, ...], tuple[str, ...], tuple[str, ...]], None]


def writer(kind: str) -> Writer:
    """Function that writes an exported program in a format.

    Raises:
        OptionError: A package that it needs is not installed.
    """
    try:
        if kind == 'openvino':
            import openvino  # noqa: F401
        if kind != 'torch_export':
            import onnxscript  # noqa: F401
    except ImportError as error:
        raise OptionError(f'the format {kind} needs the package {error.name}; pip install "mmdvis[export]"') from None
    return dict(onnx=write_onnx, openvino=write_openvino, torch_export=write_program)[kind]


def write_onnx(
    program: Any, path: Path, values: tuple[Tensor, ...], inputs: tuple[str, ...], outputs: tuple[str, ...]
) -> None:
    """Writes an ONNX file with names for inputs and outputs; weights beyond 2 GB are in a file beside it."""
    options: dict[str, Any] = dict(
        input_names=list(inputs), output_names=list(outputs), opset_version=OPSET, verbose=False
    )
    exported: Any = torch.onnx.export(program, values, dynamo=True, **options)
    exported.save(str(path))


def write_openvino(
    program: Any, path: Path, values: tuple[Tensor, ...], inputs: tuple[str, ...], outputs: tuple[str, ...]
) -> None:
    """Writes the files ``.xml`` and ``.bin`` of OpenVINO in full precision, made from an ONNX file."""
    import openvino

    temporary = path.with_suffix('.onnx')
    write_onnx(program, temporary, values, inputs, outputs)
    openvino.save_model(openvino.convert_model(str(temporary)), str(path), compress_to_fp16=False)
    for file in path.parent.glob(f'{temporary.name}*'):
        file.unlink()


def write_program(
    program: Any, path: Path, values: tuple[Tensor, ...], inputs: tuple[str, ...], outputs: tuple[str, ...]
) -> None:
    """Writes a program of ``torch.export``."""
    torch.export.save(program, path)
