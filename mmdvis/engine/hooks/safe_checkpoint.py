"""Hook that saves checkpoints so that the work folder always holds a complete one."""

import os
from collections import deque
from pathlib import Path
from typing import Any

from mmengine.dist import get_world_size, is_main_process
from mmengine.fileio import LocalBackend, get_file_backend
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
        self.best_ckpt_path = self.in_folder(getattr(self, 'best_ckpt_path', None))
        best = getattr(self, 'best_ckpt_path_dict', {})
        self.best_ckpt_path_dict = {name: self.in_folder(path) for name, path in best.items()}
        if is_main_process() and self.is_local():
            for path in Path(self.out_dir).glob('.part-*.pth'):
                path.unlink(missing_ok=True)
        if self.max_keep_ckpts > 0:
            self.keep_ckpt_ids = deque(self.keep_ckpt_ids)  # outdated ones are removed after saving

    def in_folder(self, path: str | None) -> str | None:
        """Path of a checkpoint in the folder of this run; in a resumed run, ``path`` may be that of a copied folder."""
        return None if path is None else self.file_backend.join_path(self.out_dir, Path(path).name)

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
        runner.save_checkpoint(
            self.out_dir,
            name,
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
        """Saves the best checkpoint, and only then deletes the previous one; called by mmengine.

        Args:
            runner: The runner, whose ``save_checkpoint`` is that of :class:`WholeCheckpoints`.
            metrics: Results of the validation.
        """
        backend, outdated = self.file_backend, []
        self.file_backend = LateRemoval(backend, outdated)
        try:
            super()._save_best_checkpoint(runner, metrics)
        finally:
            self.file_backend = backend
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


class WholeCheckpoints:
    """Mixin of runners: a checkpoint in a local folder gets its name when it is complete."""

    def save_checkpoint(self, out_dir: str, filename: str, *args: Any, **kwargs: Any) -> None:
        """Saves a checkpoint as in mmengine, under a temporary name, and moves it to its place.

        Args:
            out_dir: Output folder.
            filename: File name.
            args: See mmengine.
            kwargs: See mmengine.
        """
        is_local = isinstance(get_file_backend(out_dir, backend_args=kwargs.get('backend_args')), LocalBackend)
        temporary = f'.part-{filename}' if is_local else filename
        try:
            super().save_checkpoint(out_dir, temporary, *args, **kwargs)
            if is_main_process() and is_local:
                publish(Path(out_dir) / temporary, Path(out_dir) / filename)
        except BaseException:
            if is_main_process() and is_local:
                (Path(out_dir) / temporary).unlink(missing_ok=True)
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
