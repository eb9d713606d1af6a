"""Parameter groups of the DVIS recipes, as few as there are different settings."""

from collections.abc import Sequence

from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn

from mmdvis.registry import OPTIM_WRAPPER_CONSTRUCTORS

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class GroupedConstructor:
    """Builds the optimizer wrapper with rules that compose, and one group for each pair of rate and decay.

    Args:
        optim_wrapper_cfg: of the wrapper, with ``optimizer``.
        paramwise_cfg: arguments of :func:`parameter_groups` besides the first three.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        self.wrapper, self.rules = dict(optim_wrapper_cfg), dict(paramwise_cfg or {})

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """The wrapper around the parameters of ``model`` that learn."""
        model = model.module if is_model_wrapper(model) else model
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
) -> list[dict]:
    """The learning parameters by learning rate and weight decay.

    Args:
        model: whose parameters.
        lr, weight_decay: of the optimizer.
        lr_mult: part of a parameter's name -> factor of its learning rate; several factors multiply.
        norm_decay_mult, embed_decay_mult, bias_decay_mult: factors of the decay for norm layers, embedding tables, biases.
        no_decay: parts of names without decay.
        full_decay: parts of names of tables that decay like everything else (they are plain parameters in the official
            code).
    """
    groups: dict[tuple[float, float], dict] = {}
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
            group = groups.setdefault((rate, decay), dict(params=[], lr=rate, weight_decay=decay))
            if not any(parameter is other for other in group['params']):
                group['params'].append(parameter)
    return list(groups.values())
