"""From a config and a checkpoint to a model that predicts."""
from typing import Any, Dict, Optional, Tuple

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmdvis import datasets, models  # noqa: F401  registers what configs name
from mmdvis.models import DVIS
from mmdvis.registry import MODELS
from mmdvis.structures import read_checkpoint, state_dict_of


def init_model(config: str, checkpoint: str, device: str = 'cpu', options: Optional[Dict[str, Any]] = None
               ) -> Tuple[DVIS, Dict[str, Any]]:
    """Builds a model in evaluation mode.

    Args:
        config: config file.
        checkpoint: its weights; every weight of the model must be in it.
        device: as torch names it.
        options: overrides of the config.

    Returns:
        the model; the meta information of the dataset it was trained on (``classes``, ``num_things``, ...).

    Raises:
        ValueError: the checkpoint lacks weights, or does not say its classes.
    """
    settings = Config.fromfile(config)
    settings.merge_from_dict(options or {})
    with DefaultScope.overwrite_default_scope(settings.get('default_scope', 'mmdvis')):
        model = MODELS.build(settings.model)
    content = read_checkpoint(checkpoint)
    report = model.load_state_dict(state_dict_of(content), strict=False)
    missing = [name for name in report.missing_keys if not name.endswith(('num_batches_tracked', 'relative_position_index'))]
    if missing:
        raise ValueError(f'{checkpoint} lacks {len(missing)} weights of {config}, the first is {missing[0]}; '
                         'take the config that the checkpoint was trained with')
    meta = content.get('meta', {}).get('dataset_meta') or {}
    if 'classes' not in meta:
        raise ValueError(f'{checkpoint} does not say its classes (meta.dataset_meta.classes); train it with tools/train.py')
    return model.to(torch.device(device)).eval(), meta
