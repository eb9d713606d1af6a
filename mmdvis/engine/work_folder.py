"""Work folders of training runs: which checkpoints they hold, and which run may write to them."""

import json
import logging
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from mmengine.dist import get_world_size, is_main_process
from mmengine.logging import print_log

from mmdvis.checkpoints import check_finite, read_checkpoint
from mmdvis.errors import CheckpointError, OptionError

CHECKPOINT_NAME = re.compile(r'(?:iter|epoch)_(\d+)\.pth')
LOCK_NAME, OWNER_NAME = '.training.lock', '.training_owner.json'


def checkpoints_in(folder: str | Path) -> list[Path]:
    """Checkpoints of a training run in a folder, from the last iteration to the first.

    Args:
        folder: Work folder; it does not have to exist.
    """
    found = [(CHECKPOINT_NAME.fullmatch(path.name), path) for path in Path(folder).glob('*_*.pth') if path.is_file()]
    return [path for _, path in sorted(((int(match[1]), path) for match, path in found if match), reverse=True)]


def latest_checkpoint(folder: str | Path, trust: bool = False) -> tuple[Path, dict[str, Any]] | None:
    """The last checkpoint of a folder that a run can be resumed from.

    The files themselves are looked at, not ``last_checkpoint``, because the folder may have been moved and the last
    file may be damaged. Files that are left out are logged.

    Args:
        folder: Work folder.
        trust: See :func:`mmdvis.checkpoints.read_checkpoint`.

    Returns:
        Path and content; None if the folder contains no checkpoints.

    Raises:
        CheckpointError: If the folder contains checkpoints, and none of them can be used.
    """
    paths, reasons = checkpoints_in(folder), []
    for path in paths:
        try:
            content = read_checkpoint(path, trust=trust)
            check_resumable(content, path)
        except CheckpointError as error:
            print_log(f'left out: {error}', 'current', logging.WARNING)
            reasons.append(str(error))
        else:
            return path, content
    if paths:
        raise CheckpointError(
            f'none of the {len(paths)} checkpoints in {folder} can be resumed; the newest: {reasons[0]}. Remove them, '
            'or pass --overwrite to start again'
        )
    return None


def best_checkpoint(folder: str | Path) -> Path | None:
    """The newest checkpoint that ``save_best`` of a checkpoint hook kept in a folder; None if there is none."""
    paths = sorted(Path(folder).glob('best_*.pth'), key=lambda path: path.stat().st_mtime)
    return paths[-1] if paths else None


def check_resumable(content: Mapping[str, Any], path: str | Path) -> None:
    """Checks that a checkpoint contains what a run needs to go on, and that its weights are finite.

    Args:
        content: Content of the checkpoint.
        path: Its name in messages.

    Raises:
        CheckpointError: If an entry is missing or a weight is not finite.
    """
    meta = content.get('meta')
    complete = isinstance(meta, Mapping) and 'iter' in meta and isinstance(content.get('message_hub'), Mapping)
    if not complete or not isinstance(content.get('state_dict'), Mapping):
        raise CheckpointError(
            f'{path} holds weights but not the state of a training run, so it cannot be resumed; pass it as the start '
            'of a new run with --cfg-options load_from=FILE'
        )
    check_finite(content['state_dict'], path)


def check_same_run(content: Mapping[str, Any], path: str | Path, anyway: bool) -> None:
    """Checks that a resumed run goes on as the run that was saved.

    Args:
        content: Content of the checkpoint.
        path: Its name in messages.
        anyway: Whether to log what differs instead of raising an error.

    Raises:
        CheckpointError: If the state of the optimizer is missing or the number of processes differs.
    """
    before, now = content['meta'].get('num_processes'), get_world_size()
    differences = [] if 'optimizer' in content else ['it holds no state of the optimizer']
    if before not in (None, now):
        differences.append(f'it was saved by {before} processes and this run has {now}, which changes the batch size')
    if differences and not anyway:
        raise CheckpointError(
            f'{path} does not continue the same run: {"; ".join(differences)}; use the same settings, or pass '
            '--resume-anyway'
        )
    for difference in differences:
        print_log(f'{path}: {difference}; resumed anyway', 'current', logging.WARNING)


def claim_folder(folder: str | Path, overwrite: bool) -> None:
    """Prepares a folder for a run that starts from its first iteration.

    Args:
        folder: Work folder.
        overwrite: Whether to delete the checkpoints of an earlier run.

    Raises:
        OptionError: If the folder contains checkpoints and ``overwrite`` is not set.
    """
    paths = checkpoints_in(folder)
    if paths and not overwrite:
        raise OptionError(
            f'{folder} already contains {len(paths)} checkpoints of a run, up to {paths[0].name}; continue it with '
            '--resume, choose another --work-dir, or delete them and start again with --overwrite'
        )
    if is_main_process():
        for path in (*paths, Path(folder) / 'last_checkpoint'):
            path.unlink(missing_ok=True)


@contextmanager
def training_lock(folder: str | Path) -> Iterator[None]:
    """Holds a work folder, so that a second training in it is refused; only the main process of a run takes the lock.

    The operating system releases the lock when the process ends, also by a crash.

    Args:
        folder: Work folder; created.

    Raises:
        OptionError: If another process holds the folder.
    """
    if not is_main_process():
        yield
        return
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    owner, lock = folder / OWNER_NAME, FileLock(folder / LOCK_NAME)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise OptionError(
            f'{folder} is in use by another training{described_owner(owner)}; wait for its end or choose another '
            '--work-dir'
        ) from None
    try:
        if owner.exists():
            print_log(f'the last training in {folder}{described_owner(owner)} ended without cleaning up', 'current')
        owner.write_text(json.dumps(dict(pid=os.getpid(), host=socket.gethostname())))
        yield
        owner.unlink(missing_ok=True)
    finally:
        lock.release()


def described_owner(path: Path) -> str:
    """Process and host of the training that holds a folder, for messages; empty if unknown."""
    try:
        content = json.loads(path.read_text())
        return f' (process {content["pid"]} on {content["host"]})'
    except (OSError, ValueError, KeyError, TypeError):
        return ''
