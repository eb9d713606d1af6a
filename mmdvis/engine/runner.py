"""Runner that loads checkpoints without executing code from them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.fileio import get_local_path
from mmengine.runner import Runner
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from torch import nn

from mmdvis.checkpoints import Checkpoint, read_checkpoint
from mmdvis.checkpoints.mmengine_guard import install_guards
from mmdvis.engine.hooks.safe_checkpoint import WholeCheckpoints
from mmdvis.engine.unwrap_model import unwrap_model
from mmdvis.errors import CheckpointError, MMDVISError
from mmdvis.registry import RUNNERS

install_guards()


@RUNNERS.register_module()
class VideoRunner(WholeCheckpoints, Runner):
    """Runner that loads checkpoints safely and converts checkpoints of other projects.

    The runner of mmengine falls back to unrestricted unpickling, which can execute arbitrary code.

    Attributes:
        trust: Whether to allow unrestricted unpickling of checkpoints. It is not a config option, because configs are
            saved to the work folder and reused for later runs.
    """

    trust = False

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Wraps the model; converts it to the channels-last memory layout if the config has ``channels_last=True``."""
        if self.cfg.get('channels_last'):
            model = model.to(memory_format=torch.channels_last)
        return super().wrap_model(model_wrapper_cfg, model)

    def load_checkpoint(
        self,
        filename: str,
        map_location: str | Callable = 'cpu',
        strict: bool = False,
        revise_keys: Sequence[tuple[str, str]] = ((r'^module.', ''),),
    ) -> dict:
        """Loads a checkpoint into the model.

        Args:
            filename: Path or URL of the checkpoint.
            map_location: See ``torch.load``.
            strict: Whether the names of the checkpoint must match those of the model exactly.
            revise_keys: Pairs (pattern, replacement) that are applied to the names of the checkpoint.

        Returns:
            Content of the checkpoint with the names of mmdvis.

        Raises:
            CheckpointError: If ``trust`` is not set and the file contains anything other than tensors, plain values and
                log buffers; see :func:`mmdvis.checkpoints.read_checkpoint`.
        """
        with get_local_path(filename) as path:
            content = read_checkpoint(path, map_location, self.trust, Path(filename).suffix)
        checkpoint = converted(content, filename)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        model = unwrap_model(self.model)
        checkpoint = _load_checkpoint_to_model(model, checkpoint, strict, revise_keys=list(revise_keys))
        self._has_loaded = True
        self.logger.info(f'Load checkpoint from {filename}')
        return checkpoint

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """Resumes a run as in mmengine.

        Args:
            filename: Path of the checkpoint.
            args: See mmengine.
            kwargs: See mmengine.

        Raises:
            CheckpointError: If the states of optimizer, schedules or log do not fit those of the config.
        """
        try:
            super().resume(filename, *args, **kwargs)
        except (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, MMDVISError):
                raise
            raise CheckpointError(
                f'{filename} cannot be resumed, because the state of its optimizer, schedule or log does not fit this '
                f'config ({error}); use the config of that run, or pass the file as load_from of a new run'
            ) from error


def converted(content: dict, filename: str) -> dict:
    """The content of a checkpoint with the names of mmdvis.

    The config is removed from the meta information, because mmengine would execute it when a run is resumed.
    """
    checkpoint = Checkpoint.from_content(content, str(filename))
    meta = {name: value for name, value in checkpoint.meta.items() if name != 'config'}
    return dict(content, state_dict=checkpoint.weights, meta=meta, filename=str(filename))
