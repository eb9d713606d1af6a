"""Any vision model of the transformers library as a backbone: as a pyramid of maps, or as tokens for :class:`ViTAdapter`."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdvis.registry import MODELS

STRIDES = (4, 8, 16, 32)


def read_hf_config(name: str | None, config: dict[str, Any] | None, local_only: bool) -> Any:
    """The configuration of a model: of its name or folder, or of ``config`` with ``model_type``."""
    from transformers import AutoConfig

    if name is None:
        options = dict(config or {})
        kind = options.pop('model_type', None)
        if kind is None:
            raise ValueError(
                "a backbone without a name needs config=dict(model_type='...', ...) to be built with random weights"
            )
        return AutoConfig.for_model(kind, **options)
    return fetch_model_file(
        name, lambda: AutoConfig.from_pretrained(name, local_files_only=local_only, **(config or {}))
    )


def fetch_model_file(name: str, load: Any) -> Any:
    """What ``load`` gives; where neither the hub nor a folder has it, one sentence."""
    try:
        return load()
    except Exception as error:  # the library tells of an unreachable hub by many types
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise OSError(
            f'{name!r} is neither a local folder with config.json and model.safetensors nor could it be fetched from '
            f'the Hugging Face hub ({first[:160]}); download it where there is a network (hf download {name} '
            '--local-dir FOLDER) and name the folder'
        ) from None


def build_model(config: Any, name: str | None, as_pyramid: bool, local_only: bool) -> nn.Module:
    """The model: the library's own backbone class where a pyramid is wanted and it has one, else the bare model."""
    from transformers import AutoModel
    from transformers.models.auto.modeling_auto import MODEL_FOR_BACKBONE_MAPPING

    has_class = as_pyramid and type(config) in MODEL_FOR_BACKBONE_MAPPING and hasattr(config, 'stage_names')
    if has_class:
        config.out_features = [stage for stage in config.stage_names if stage != 'stem'][-len(STRIDES) :]
    kind = MODEL_FOR_BACKBONE_MAPPING[type(config)] if has_class else AutoModel
    if name is None:
        return kind(config) if has_class else kind.from_config(config)
    return fetch_model_file(
        name, lambda: kind.from_pretrained(name, config=config, use_safetensors=True, local_files_only=local_only)
    )


def blocks_of(model: nn.Module, number: int) -> nn.ModuleList:
    """The list of the transformer's blocks: the outermost of the right length."""
    found = [module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module) == number]
    if not found:
        raise ValueError(
            f'{type(model).__name__} has no list of {number} blocks, so it cannot give tokens of block ranges; use '
            'stages=None for a pyramid'
        )
    return found[0]


@MODELS.register_module()
class HFBackbone(BaseModule):
    """A model of transformers.

    Args:
        name: on the hub, or a local folder; None: random weights by ``config``. Only safetensors are read, no code is run.
        config: overrides of the model's configuration; without a name with ``model_type``.
        stages: None: a pyramid, four maps at strides 4, 8, 16, 32. Else first and last block of each stage of a plain
            transformer, whose tokens are wanted.
        frozen: no parameter learns, and nothing is kept for gradients.
        checkpointing: compute activations again in the backward pass.
        local_only: never ask the hub.

    Raises:
        OSError: the weights can be had neither from a folder nor from the hub.
        ValueError: the model gives no such maps or tokens.
    """

    def __init__(
        self,
        name: str | None = None,
        config: dict | None = None,
        stages: Sequence[tuple[int, int]] | None = None,
        frozen: bool = False,
        checkpointing: bool = False,
        local_only: bool = False,
    ) -> None:
        super().__init__()
        settings = read_hf_config(name, config, local_only)
        self.model = build_model(settings, name, stages is None, local_only)
        self.stages = None if stages is None else tuple(map(tuple, stages))
        self.frozen = frozen
        self.channels = getattr(settings, 'hidden_size', None)
        self.patch_size = getattr(settings, 'patch_size', None)
        if self.stages is not None:
            number = settings.num_hidden_layers
            blocks_of(self.model, number)  # says it now, if there are none
            if any(not 0 <= first <= last < number for first, last in self.stages):
                raise ValueError(f'stages must be first and last block, from 0 to {number - 1}, got {self.stages}')
        if checkpointing:
            self.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=dict(use_reentrant=False))
        self.requires_grad_(not frozen)

    def train(self, mode: bool = True) -> 'HFBackbone':
        """A frozen model stays in evaluation mode."""
        return super().train(mode and not self.frozen)

    def init_weights(self) -> None:
        """Nothing: the weights are loaded, or drawn by the library."""

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W) -> maps at strides 4, 8, 16, 32, or one for each stage."""
        if self.stages is not None:
            found, size = self.tokens(images)
            return [self.patches(x, size) for x in found]
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            output = self.model(images, output_hidden_states=True)
        maps = getattr(output, 'feature_maps', None) or output.hidden_states
        return pyramid(maps, tuple(images.shape[-2:]), type(self.model).__name__)

    def tokens(self, images: Tensor) -> tuple[list[Tensor], tuple[int, int]]:
        """All tokens after each stage, as the block leaves them, and the size of the map of patches."""
        taken: dict[int, Tensor] = {}

        def keep(number: int) -> Any:
            def hook(module: nn.Module, inputs: Any, output: Any) -> None:
                taken[number] = output[0] if isinstance(output, tuple) else output

            return hook

        blocks = blocks_of(self.model, self.model.config.num_hidden_layers)
        handles = [blocks[last].register_forward_hook(keep(last)) for _, last in self.stages]
        try:
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
                self.model(images)
        finally:
            for handle in handles:
                handle.remove()
        size = tuple(length // self.patch_size for length in images.shape[-2:])
        return [taken[last] for _, last in self.stages], size

    def patches(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """The map (B, C, h, w) of the patch tokens, which come last."""
        return x[:, -size[0] * size[1] :].transpose(1, 2).unflatten(2, size)


def pyramid(maps: Sequence[Tensor], size: tuple[int, int], name: str) -> list[Tensor]:
    """The last map of each stride.

    Raises:
        ValueError: there is none at one of the strides.
    """
    found: dict[int, Tensor] = {}
    for x in maps:
        if x.dim() == 4:
            found[round(size[1] / x.shape[-1])] = x
    missing = [stride for stride in STRIDES if stride not in found]
    if missing:
        raise ValueError(
            f'{name} gives maps at the strides {sorted(found)} and none at {missing}; a pyramid needs 4, 8, 16 and '
            '32. A plain transformer goes into ViTAdapter, with stages'
        )
    return [found[stride] for stride in STRIDES]
