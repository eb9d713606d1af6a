"""Hook that saves checkpoints so that the work folder always holds a complete one."""

import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.dist import get_world_size, is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from mmdvis.io import atomic_write
from mmdvis.registry import HOOKS


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """Saves checkpoints under a temporary name, moves them to their place, and only then deletes older ones.

    A run that is killed or runs out of disk space while it saves thus keeps its last checkpoint. The hook of mmengine
    deletes the oldest checkpoint first and writes directly to the final name. The arguments are those of mmengine.
    """

    def before_train(self, runner: Runner) -> None:
        """Prepares the folder as in mmengine and removes files that an interrupted run has left unfinished."""
        super().before_train(runner)
        if is_main_process() and self.is_local():
            for path in Path(self.out_dir).glob('.part-*.pth'):
                path.unlink(missing_ok=True)
        if self.max_keep_ckpts > 0:
            self.keep_ckpt_ids = deque(self.keep_ckpt_ids)  # outdated ones are removed after saving

    def is_local(self) -> bool:
        """Whether the checkpoints are saved to a local folder; files in other stores cannot be moved."""
        return isinstance(self.file_backend, LocalBackend)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Adds the number of processes to the meta information."""
        checkpoint['meta']['num_processes'] = get_world_size()

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        """Saves a checkpoint and deletes outdated ones; called by mmengine.

        Args:
            runner: The runner.
            step: Number of iterations, or of epochs, in the name.
            meta: Meta information.
        """
        outdated: list[int] = []
        if self.max_keep_ckpts > 0:
            if step not in self.keep_ckpt_ids:
                self.keep_ckpt_ids.append(step)
            while len(self.keep_ckpt_ids) > self.max_keep_ckpts:
                outdated.append(self.keep_ckpt_ids.popleft())
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        save_whole(
            runner.save_checkpoint,
            self.out_dir,
            name,
            self.is_local(),
            file_client_args=self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            self.point_to_last(Path(runner.work_dir))
            for number in outdated:
                path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(number))
                if self.file_backend.isfile(path):
                    self.file_backend.remove(path)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, Any]) -> None:
        """Saves the best checkpoint in the same way, and only then deletes the previous one; called by mmengine.

        Args:
            runner: The runner.
            metrics: Results of the validation.
        """
        backend, save = self.file_backend, runner.save_checkpoint
        outdated: list[str] = []
        self.file_backend = LateRemoval(backend, outdated)
        runner.save_checkpoint = lambda out_dir, filename, *args, **kwargs: (
            save(out_dir, filename, *args, **kwargs)
            if filename.startswith('.part-')
            else save_whole(save, out_dir, filename, isinstance(backend, LocalBackend), *args, **kwargs)
        )
        try:
            super()._save_best_checkpoint(runner, metrics)
        finally:
            self.file_backend = backend
            del runner.save_checkpoint  # the method of the class again
        for path in outdated:
            backend.remove(path)

    def point_to_last(self, folder: Path) -> None:
        """Writes the name of the last checkpoint to ``last_checkpoint``, which other tools of mmengine read."""
        with atomic_write(folder / 'last_checkpoint') as temporary:
            temporary.write_text(str(self.last_ckpt))


class LateRemoval:
    """File backend that notes which files are to be removed instead of removing them.

    Args:
        backend: File backend of mmengine.
        outdated: List to which the paths are added.
    """

    def __init__(self, backend: Any, outdated: list[str]) -> None:
        self.backend, self.outdated = backend, outdated

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def remove(self, path: str) -> None:
        """Notes a file."""
        self.outdated.append(path)


def save_whole(
    save: Callable[..., None], folder: str, name: str, is_local: bool, *args: object, **kwargs: object
) -> None:
    """Saves a checkpoint under a temporary name and moves it to its place when it is complete.

    Args:
        save: Function (folder, name, ...) that saves the checkpoint; all processes call it.
        folder: Output folder.
        name: File name.
        is_local: Whether the folder is local; files in other stores cannot be moved and get their name at once.
        args: Further arguments of ``save``.
        kwargs: Further arguments of ``save``.
    """
    temporary = f'.part-{name}' if is_local else name
    try:
        save(folder, temporary, *args, **kwargs)
        if is_main_process() and is_local:
            publish(Path(folder) / temporary, Path(folder) / name)
    except BaseException:
        if is_main_process() and is_local:
            (Path(folder) / temporary).unlink(missing_ok=True)
        raise


def publish(source: Path, target: Path) -> None:
    """Moves a written file to its final name after its content has reached the disk.

    Args:
        source: Path of the finished file.
        target: Path in the same folder.
    """
    with open(source, 'rb') as file:
        os.fsync(file.fileno())
    os.replace(source, target)
