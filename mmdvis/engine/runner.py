"""The runner, with the one change that matters: checkpoints are untrusted."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from mmengine.fileio import get_local_path
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from torch import nn

from mmdvis.checkpoints import Checkpoint, read_checkpoint
from mmdvis.checkpoints.mmengine_guard import install_guards
from mmdvis.registry import RUNNERS

install_guards()


@RUNNERS.register_module()
class VideoRunner(Runner):
    """mmengine's runner, whose own loader falls back to unsafe unpickling; this one never does.

    Attributes:
        trust: load checkpoints without guarding against code in them. Not an option of the config, which is written to the
            work folder and would carry it on.
    """

    trust = False

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """As in mmengine; where the config says ``channels_last=True``, convolutions are laid out so before."""
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
        """As in mmengine, but the file may hold nothing but tensors, plain values and log buffers, unless ``trust`` is set.

        Raises:
            ValueError: it holds anything else; see :func:`mmdvis.structures.read_checkpoint`.
        """
        with get_local_path(filename) as path:
            content = read_checkpoint(path, map_location, self.trust, Path(filename).suffix)
        checkpoint = converted(content, filename)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        model = self.model.module if is_model_wrapper(self.model) else self.model
        checkpoint = _load_checkpoint_to_model(model, checkpoint, strict, revise_keys=list(revise_keys))
        self._has_loaded = True
        self.logger.info(f'Load checkpoint from {filename}')
        return checkpoint


def converted(content: dict, filename: str) -> dict:
    """The content of a checkpoint with the names of mmdvis, and without the config that mmengine would execute on resume."""
    checkpoint = Checkpoint.from_content(content, str(filename))
    meta = {name: value for name, value in checkpoint.meta.items() if name != 'config'}
    return dict(content, state_dict=checkpoint.weights, meta=meta, filename=str(filename))
