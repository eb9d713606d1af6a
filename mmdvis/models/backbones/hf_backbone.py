"""Vision models of the transformers library as backbones: feature pyramids, or tokens for :class:`ViTAdapter`."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdvis.models.layers.levels import patch_map
from mmdvis.registry import MODELS

STRIDES = (4, 8, 16, 32)


def read_hf_config(name: str | None, config: dict[str, Any] | None, local_only: bool) -> Any:
    """Configuration of a model.

    Args:
        name: Name on the Hugging Face hub, or local folder; None to build it from ``config``.
        config: Overrides of the configuration; must contain ``model_type`` if ``name`` is None.
        local_only: Whether to use only local files.

    Raises:
        OSError: The configuration is neither in a local folder nor on the hub.
        ValueError: ``name`` is None and ``config`` has no ``model_type``.
    """
    from transformers import AutoConfig

    if name is None:
        options = dict(config or {})
        kind = options.pop('model_type', None)
        if kind is None:
            raise ValueError(
                "a backbone without a name needs config=dict(model_type='...', ...) to be randomly initialised"
            )
        return AutoConfig.for_model(kind, **options)
    return fetch_model_file(
        name, lambda: AutoConfig.from_pretrained(name, local_files_only=local_only, **(config or {}))
    )


def fetch_model_file(name: str, load: Any) -> Any:
    """Calls ``load`` and converts its errors to an OSError with instructions.

    Args:
        name: Name of the model.
        load: Function that loads the model or its configuration.

    Raises:
        OSError: The model is neither in a local folder nor on the hub.
    """
    try:
        return load()
    except Exception as error:  # transformers raises many exception types if the hub is unreachable
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise OSError(
            f'{name!r} is neither a local folder with config.json and model.safetensors nor could it be downloaded '
            f'from the Hugging Face hub ({reason[:160]}); download it with network access (hf download {name} '
            '--local-dir FOLDER) and pass the folder as name'
        ) from None


def build_model(config: Any, name: str | None, as_pyramid: bool, local_only: bool) -> nn.Module:
    """Builds a model: the backbone class of transformers for a pyramid if there is one, otherwise the plain model.

    Args:
        config: Configuration of the model.
        name: Name of the pretrained weights; None for random initialisation.
        as_pyramid: Whether a feature pyramid is needed.
        local_only: Whether to use only local files.
    """
    from transformers import AutoModel
    from transformers.models.auto.modeling_auto import MODEL_FOR_BACKBONE_MAPPING

    has_class = as_pyramid and type(config) in MODEL_FOR_BACKBONE_MAPPING and hasattr(config, 'stage_names')
    if has_class:
        config.out_features = [stage for stage in config.stage_names if stage != 'stem'][-len(STRIDES) :]
    kind = MODEL_FOR_BACKBONE_MAPPING[type(config)] if has_class else AutoModel
    if name is None:
        return kind(config) if has_class else kind.from_config(config)
    return fetch_model_file(
        name,
        lambda: kind.from_pretrained(
            name, config=config, use_safetensors=True, local_files_only=local_only, dtype=torch.float32
        ),
    )


def blocks_of(model: nn.Module, number: int) -> nn.ModuleList:
    """List of the transformer blocks: the outermost module list with ``number`` entries.

    Args:
        model: Model of transformers.
        number: Number of blocks.

    Raises:
        ValueError: The model has no such list.
    """
    candidates = [module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module) == number]
    if not candidates:
        raise ValueError(
            f'{type(model).__name__} has no list of {number} blocks, so stages are not supported; use stages=None '
            'for a pyramid'
        )
    return candidates[0]


def square_patch(size: Any) -> int | None:
    """Edge of the patches in pixels from a number or a pair (InternViT has a pair); None if they are not square."""
    edges = set(size) if isinstance(size, (list, tuple)) else {size}
    return edges.pop() if len(edges) == 1 else None


@MODELS.register_module()
class HFBackbone(BaseModule):
    """Backbone from the transformers library.

    Args:
        name: Name on the Hugging Face hub, or local folder; None for a randomly initialised model. Only safetensors
            files are loaded and no remote code is executed.
        config: Overrides of the model configuration; must contain ``model_type`` if ``name`` is None.
        stages: None for a pyramid of four maps at strides 4, 8, 16 and 32. Otherwise the indices of the first and last
            block of each stage of a plain transformer, whose tokens are returned.
        frozen: Whether all parameters are frozen; no activations are then stored for the backward pass.
        checkpointing: Whether to recompute activations in the backward pass.
        local_only: Whether to use only local files.

    Raises:
        OSError: The weights are neither in a local folder nor on the hub.
        ValueError: The model does not support the requested maps or tokens.
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
        self.patch_size = square_patch(getattr(settings, 'patch_size', None))
        if self.stages is not None:
            number = getattr(settings, 'num_hidden_layers', None)
            if number is None or self.patch_size is None:
                raise ValueError(
                    f'{type(self.model).__name__} is not a plain transformer with square patches, so stages are not '
                    'supported; use stages=None for a pyramid'
                )
            self.blocks = tuple(blocks_of(self.model, number))  # a tuple, which does not register them again
            if any(not 0 <= first <= last < number for first, last in self.stages):
                raise ValueError(
                    f'stages must be pairs of first and last block, from 0 to {number - 1}, got {self.stages}'
                )
        if checkpointing:
            self.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=dict(use_reentrant=False))
        self.requires_grad_(not frozen)

    def train(self, mode: bool = True) -> 'HFBackbone':
        """Sets the training mode; a frozen backbone stays in evaluation mode."""
        return super().train(mode and not self.frozen)

    def init_weights(self) -> None:
        """Does nothing because the weights are loaded or initialised by transformers."""

    def forward(self, images: Tensor) -> list[Tensor]:
        """Maps at strides 4, 8, 16 and 32, or one map per stage, for images (B, 3, H, W)."""
        if self.stages is not None:
            stage_tokens, size = self.tokens(images)
            return [patch_map(x, size) for x in stage_tokens]
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            output = self.model(images, output_hidden_states=True)
        maps = getattr(output, 'feature_maps', None) or output.hidden_states
        return pyramid(maps, tuple(images.shape[-2:]), type(self.model).__name__)

    def tokens(self, images: Tensor) -> tuple[list[Tensor], tuple[int, int]]:
        """All tokens (B, N, C) after each stage, without the final norm, and the size (h, w) of the patch grid."""
        block_outputs: dict[int, Tensor] = {}

        def keep(number: int) -> Any:
            def hook(module: nn.Module, inputs: Any, output: Any) -> None:
                block_outputs[number] = output[0] if isinstance(output, tuple) else output

            return hook

        handles = [self.blocks[last].register_forward_hook(keep(last)) for _, last in self.stages]
        try:
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
                self.model(images)
        finally:
            for handle in handles:
                handle.remove()
        size = tuple(length // self.patch_size for length in images.shape[-2:])
        return [block_outputs[last] for _, last in self.stages], size


def pyramid(maps: Sequence[Tensor], size: tuple[int, int], name: str) -> list[Tensor]:
    """Selects the last map of each stride.

    Args:
        maps: Outputs of the model; only maps (B, C, h, w) are used.
        size: (height, width) of the images.
        name: Name of the model for the error message.

    Returns:
        Maps at strides 4, 8, 16 and 32.

    Raises:
        ValueError: There is no map at one of the strides.
    """
    maps_by_stride: dict[int, Tensor] = {}
    for x in maps:
        if x.dim() == 4:
            maps_by_stride[round(size[1] / x.shape[-1])] = x
    missing = [stride for stride in STRIDES if stride not in maps_by_stride]
    if missing:
        raise ValueError(
            f'{name} returns maps at strides {sorted(maps_by_stride)} but not at {missing}; a pyramid needs 4, 8, 16 '
            'and 32; use a plain transformer with stages in ViTAdapter'
        )
    return [maps_by_stride[stride] for stride in STRIDES]
