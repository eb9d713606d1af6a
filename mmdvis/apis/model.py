"""From a config and a checkpoint to a model that predicts."""

import warnings
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmdvis import datasets, models  # noqa: F401 (registers what configs name)
from mmdvis.checkpoints import meta_of, option_conflicts, plan_loading, read_checkpoint, state_dict_of
from mmdvis.datasets.classes import KNOWN_CLASSES, known_classes
from mmdvis.models.detectors import DVIS
from mmdvis.registry import DATASETS, MODELS


def init_model(
    config: str, checkpoint: str, device: str = 'cpu', options: dict[str, Any] | None = None, trust: bool = False
) -> tuple[DVIS, dict[str, Any]]:
    """Builds a model in evaluation mode.

    Args:
        config: config file.
        checkpoint: its weights; every weight of the model must be in it.
        device: as torch names it.
        options: overrides of the config.
        trust: read the checkpoint without guarding against code in it.

    Returns:
        the model; the meta information of the dataset it was trained on (``classes``, ``category_ids``, ...). Where the
        checkpoint does not say, as converted ones, it is that of the config's test set; of an unknown one, numbers.

    Raises:
        ValueError: the checkpoint lacks weights, has them in another shape, or has unknown ones.
    """
    settings = Config.fromfile(config)
    settings.merge_from_dict(options or {})
    with DefaultScope.overwrite_default_scope(settings.get('default_scope', 'mmdvis')):
        model = MODELS.build(settings.model)
    content = read_checkpoint(checkpoint, trust=trust)
    result = plan_loading(model.state_dict(), state_dict_of(content), origin=checkpoint)
    model.load_state_dict(result.weights, strict=False)
    origin = meta_of(content)
    for sentence in (*result.notes(), *option_conflicts(model, origin.get('switches', {}))):
        warnings.warn(f'{checkpoint}: {sentence}', stacklevel=2)
    meta = dict(origin.get('dataset_meta') or {})
    if 'classes' not in meta:  # converted weights do not say
        meta.update(classes_of(settings, model.segmenter.cls_embed.out_features - 1))
    return model.to(torch.device(device)).eval(), meta


def classes_of(settings: Config, number: int) -> dict[str, Any]:
    """The classes that the test set of a config is known to have, if there are ``number`` of them; else numbers."""
    dataset = (settings.get('test_dataloader') or {}).get('dataset') or {}
    kind = DATASETS.get(dataset['type']) if dataset.get('type') else None
    name = dataset.get('class_list') or getattr(kind, 'CLASS_LIST', None)
    if kind is datasets.VSPWDataset:
        name = dataset.get('categories', 'VSPW')
    elif kind is datasets.YouTubeVISDataset:
        name = f'YouTubeVIS{dataset.get("version", 2021)}'
    if name in KNOWN_CLASSES and len(known_classes(name).names) == number:
        return known_classes(name).metainfo()
    return dict(classes=tuple(f'class {k}' for k in range(number)), category_ids=tuple(range(number)))
