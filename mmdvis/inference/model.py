"""Builds a model for inference from a config and a checkpoint, or from a checkpoint alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from mmdvis import models  # noqa: F401 (registers what configs name)
from mmdvis.checkpoints import Checkpoint, load_weights, stored_config, with_trained_options
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
    loaded = Checkpoint.read(config if checkpoint is None else checkpoint, trust=trust)
    if checkpoint is None and loaded.meta.get('cfg') is None:
        settings = Config.fromfile(recognised_entry(loaded).config)
    elif checkpoint is None:
        settings = stored_config(loaded.meta, loaded.origin)
    else:
        settings = config.copy() if isinstance(config, Config) else Config.fromfile(config)
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
