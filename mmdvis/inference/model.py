"""Builds a model for inference from a config and a checkpoint, or from a checkpoint alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from mmdvis import models  # noqa: F401 (registers what configs name)
from mmdvis.checkpoints import (
    Checkpoint,
    load_weights,
    meta_of,
    read_checkpoint,
    state_dict_of,
    stored_config,
    with_trained_options,
)
from mmdvis.datasets.test_set_classes import classes_of_test_set
from mmdvis.models.detectors import DVIS
from mmdvis.registry import MODELS

from .recognise import recognised_entry


def init_model(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    device: str = 'cpu',
    options: Mapping[str, Any] | None = None,
    trust: bool = False,
) -> DVIS:
    """Builds a model in evaluation mode.

    Args:
        config: Config, path of a config file, or path of a checkpoint. Checkpoints of mmdvis contain their config;
            those of other projects are recognised by their content if they fit a model of ``mmdvis models``.
        checkpoint: Path of a checkpoint of mmdvis, detectron2, mmdet or transformers, which must contain every weight
            of the model; None if ``config`` is the checkpoint.
        device: Device of the model.
        options: Overrides of the config, e.g. ``{'model.causal': True}``.
        trust: Whether to allow unrestricted unpickling, which can execute arbitrary code.

    Returns:
        Model in evaluation mode. ``model.classes`` has the names, colours and ids of the classes of the checkpoint. If
        the checkpoint does not contain them (e.g. a converted one), those of the test set of the config are used. If
        these are also unknown, the classes are numbered.

    Raises:
        CheckpointError: If the checkpoint is damaged, does not fit the config, or does not contain its config.
    """
    settings = None
    if checkpoint is not None:
        settings = config.copy() if isinstance(config, Config) else Config.fromfile(config)
    if (
        settings is not None and checkpoint is not None and settings.model.type == 'PerFrameModel'
    ):  # weights of mmdet and mmseg stay as they are
        loaded = part_checkpoint(checkpoint, 'detector', trust)
    else:
        loaded = Checkpoint.read(config if checkpoint is None else checkpoint, trust=trust)
    if checkpoint is None and loaded.meta.get('cfg') is None:
        settings = Config.fromfile(recognised_entry(loaded).config)
    elif settings is None:
        settings = stored_config(loaded.meta, loaded.origin)
    settings.merge_from_dict(dict(options or {}))
    dataset_meta = loaded.meta.get('dataset_meta')
    if not isinstance(dataset_meta, dict) or 'classes' not in dataset_meta:
        dataset_meta = classes_of_test_set(settings)
    model = dict(
        with_trained_options(settings.model, loaded), **({'dataset_meta': dataset_meta} if dataset_meta else {})
    )
    detector = MODELS.build(model)
    load_weights(detector, loaded)
    return detector.to(torch.device(device)).eval()


def part_checkpoint(path: str | Path, part: str, trust: bool) -> Checkpoint:
    """The weights of a file as those of one part of a model, with the names that they have there."""
    content = read_checkpoint(path, trust=trust)
    weights = {f'{part}.{name.removeprefix(part + ".")}': value for name, value in state_dict_of(content).items()}
    meta = {name: value for name, value in meta_of(content).items() if name != 'dataset_meta'}
    return Checkpoint(weights, meta, str(path), 'mmdvis')
