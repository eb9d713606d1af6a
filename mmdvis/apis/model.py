"""From a config and a checkpoint to a model that predicts."""
import warnings
from typing import Any, Dict, Optional, Tuple

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmdvis import datasets, models  # noqa: F401  registers what configs name
from mmdvis.models import DVIS
from mmdvis.registry import MODELS
from mmdvis.structures import missing_weights, read_checkpoint, state_dict_of


def init_model(config: str, checkpoint: str, device: str = 'cpu', options: Optional[Dict[str, Any]] = None
               ) -> Tuple[DVIS, Dict[str, Any]]:
    """Builds a model in evaluation mode.

    Args:
        config: config file.
        checkpoint: its weights; every weight of the model must be in it.
        device: as torch names it.
        options: overrides of the config.

    Returns:
        the model; the meta information of the dataset it was trained on (``classes``, ``category_ids``, ...), numbered where
        the checkpoint does not say, as converted ones.

    Raises:
        ValueError: the checkpoint lacks weights, or has them in another shape.
    """
    settings = Config.fromfile(config)
    settings.merge_from_dict(options or {})
    with DefaultScope.overwrite_default_scope(settings.get('default_scope', 'mmdvis')):
        model = MODELS.build(settings.model)
    content = read_checkpoint(checkpoint)
    weights = state_dict_of(content)
    missing = missing_weights(model.state_dict(), weights)
    if missing:
        raise ValueError(f'{checkpoint} lacks {len(missing)} weights of {config} or has them in another shape, the first is '
                         f'{missing[0]}; take the config that the checkpoint was trained with')
    unused = sorted({name.split('.')[0] for name in model.load_state_dict(weights, strict=False).unexpected_keys})
    if unused:
        warnings.warn(f"{config} has no place for the weights of {', '.join(unused)} in {checkpoint}", stacklevel=2)
    meta = dict(content.get('meta', {}).get('dataset_meta') or {})
    if 'classes' not in meta:  # converted weights do not say
        numbers = range(model.segmenter.cls_embed.out_features - 1)
        meta.update(classes=tuple(f'class {k}' for k in numbers), category_ids=tuple(numbers))
    return model.to(torch.device(device)).eval(), meta
