"""From a config and a checkpoint to a model that predicts."""
import warnings
from typing import Any, Dict, Optional, Tuple

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmdvis import datasets, models  # noqa: F401  registers what configs name
from mmdvis.models import DVIS
from mmdvis.registry import MODELS
from mmdvis.structures import contradictions, hand_over, meta_of, read_checkpoint, state_dict_of


def init_model(config: str, checkpoint: str, device: str = 'cpu', options: Optional[Dict[str, Any]] = None,
               trust: bool = False) -> Tuple[DVIS, Dict[str, Any]]:
    """Builds a model in evaluation mode.

    Args:
        config: config file.
        checkpoint: its weights; every weight of the model must be in it.
        device: as torch names it.
        options: overrides of the config.
        trust: read the checkpoint without guarding against code in it.

    Returns:
        the model; the meta information of the dataset it was trained on (``classes``, ``category_ids``, ...), numbered where
        the checkpoint does not say, as converted ones.

    Raises:
        ValueError: the checkpoint lacks weights, has them in another shape, or has unknown ones.
    """
    settings = Config.fromfile(config)
    settings.merge_from_dict(options or {})
    with DefaultScope.overwrite_default_scope(settings.get('default_scope', 'mmdvis')):
        model = MODELS.build(settings.model)
    content = read_checkpoint(checkpoint, trust=trust)
    result = hand_over(model.state_dict(), state_dict_of(content), origin=checkpoint)
    model.load_state_dict(result.weights, strict=False)
    origin = meta_of(content)
    for sentence in (*result.notes(), *contradictions(model, origin.get('switches', {}))):
        warnings.warn(f'{checkpoint}: {sentence}', stacklevel=2)
    meta = dict(origin.get('dataset_meta') or {})
    if 'classes' not in meta:  # converted weights do not say
        numbers = range(model.segmenter.cls_embed.out_features - 1)
        meta.update(classes=tuple(f'class {k}' for k in numbers), category_ids=tuple(numbers))
    return model.to(torch.device(device)).eval(), meta
