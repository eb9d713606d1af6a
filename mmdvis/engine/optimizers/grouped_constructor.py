"""Parameter groups of the DVIS recipes."""

from collections.abc import Sequence

from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn

from mmdvis.engine.unwrap_model import unwrap_model
from mmdvis.registry import OPTIM_WRAPPER_CONSTRUCTORS

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class GroupedConstructor:
    """Optimizer wrapper constructor with one parameter group per pair of learning rate and weight decay.

    Unlike in mmengine's default constructor, several multipliers can apply to the same parameter.

    Args:
        optim_wrapper_cfg: Config of the optimizer wrapper, including ``optimizer``.
        paramwise_cfg: Arguments of :func:`parameter_groups` other than the first three.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        self.wrapper, self.rules = dict(optim_wrapper_cfg), dict(paramwise_cfg or {})

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Builds the optimizer wrapper for the trainable parameters of ``model``."""
        model = unwrap_model(model)
        wrapper = dict(self.wrapper)
        optimizer = dict(wrapper.pop('optimizer'))
        wrapper.setdefault('type', 'OptimWrapper')
        optimizer['params'] = parameter_groups(model, optimizer['lr'], optimizer.get('weight_decay', 0.0), **self.rules)
        return OPTIM_WRAPPERS.build(dict(wrapper, optimizer=OPTIMIZERS.build(optimizer)))


def parameter_groups(
    model: nn.Module,
    lr: float,
    weight_decay: float,
    lr_mult: dict[str, float] | None = None,
    norm_decay_mult: float = 0.0,
    embed_decay_mult: float = 0.0,
    bias_decay_mult: float = 1.0,
    no_decay: Sequence[str] = ('relative_position_bias_table', 'absolute_pos_embed'),
    full_decay: Sequence[str] = ('level_encoding',),
    late: Sequence[str] = (),
) -> list[dict]:
    """Groups the trainable parameters by learning rate and weight decay.

    Args:
        model: Model with the parameters.
        lr: Base learning rate.
        weight_decay: Base weight decay.
        lr_mult: Substring of a parameter name -> learning rate multiplier. All matching multipliers are applied.
        norm_decay_mult: Weight decay multiplier of normalisation layers.
        embed_decay_mult: Weight decay multiplier of embeddings.
        bias_decay_mult: Weight decay multiplier of biases.
        no_decay: Substrings of the names of parameters without weight decay.
        full_decay: Substrings of the names of embeddings with the base weight decay, because they are plain parameters
            in the official code.
        late: Substrings of the names of parameters whose groups are marked for :class:`TwoStagePolyLR`.

    Returns:
        Parameter groups with ``params``, ``lr`` and ``weight_decay``, and ``is_late`` if ``late`` is used.
    """
    groups: dict[tuple[float, float, bool], dict] = {}
    for prefix, module in model.named_modules():
        prefix = prefix.replace('_fsdp_wrapped_module.', '')
        for name, parameter in module.named_parameters(prefix, recurse=False):
            if not parameter.requires_grad:
                continue
            rate, decay = lr, weight_decay
            for part, factor in (lr_mult or {}).items():
                rate *= factor if part in name else 1
            if any(part in name for part in no_decay):
                decay = 0.0
            elif isinstance(module, NORMS):
                decay *= norm_decay_mult
            elif isinstance(module, nn.Embedding) and not any(part in name for part in full_decay):
                decay *= embed_decay_mult
            elif name.endswith('bias'):
                decay *= bias_decay_mult
            is_late = any(part in name for part in late)
            mark = dict(is_late=is_late) if late else {}
            group = groups.setdefault((rate, decay, is_late), dict(params=[], lr=rate, weight_decay=decay, **mark))
            if not any(parameter is other for other in group['params']):
                group['params'].append(parameter)
    return list(groups.values())
