"""Downloads files once: resumed after interruptions, verified, and kept in a cache."""

import hashlib
import http.client
import os
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from filelock import FileLock
from tqdm import tqdm

from mmdvis.errors import CheckpointError

TIMEOUT = 20.0  # seconds without data after which a connection counts as lost
ATTEMPTS = 4  # connections for one file
BLOCK = 1 << 18
UNIQUE = 32  # length of file names that are taken to be unique


def cache_folder() -> Path:
    """Folder of downloaded weights: ``MMDVIS_HOME``, or ``mmdvis`` in the folder of torch.hub."""
    if 'MMDVIS_HOME' in os.environ:
        return Path(os.environ['MMDVIS_HOME']).expanduser()
    caches = Path(os.environ.get('XDG_CACHE_HOME', '~/.cache')).expanduser()
    return Path(os.environ.get('TORCH_HOME', caches / 'torch')).expanduser() / 'hub' / 'mmdvis'


def cached_path(url: str) -> Path:
    """Where the file of an address is kept: its own name, with the path before it if it is short, as ``model.bin``."""
    parts = urllib.parse.urlsplit(url).path.strip('/').split('/')
    return cache_folder() / (parts[-1] if len(parts[-1]) >= UNIQUE else '-'.join(parts))


def digest(path: Path, kind: str) -> str:
    """Hash of a file as hexadecimal text; ``kind`` is ``'sha256'`` or ``'md5'``."""
    value = hashlib.new(kind)
    with open(path, 'rb') as file:
        while block := file.read(BLOCK):
            value.update(block)
    return value.hexdigest()


def download(url: str, hash_kind: str = 'sha256', hash_start: str = '', progress: bool = True) -> Path:
    """Downloads a file into the cache, unless it is there.

    An interrupted download is resumed, also by a later call. The file appears under its name only when it is complete
    and its hash is right. Two processes do not download the same file at once.

    Args:
        url: Address of the file.
        hash_kind: ``'sha256'`` or ``'md5'``.
        hash_start: First digits of the hash; empty to skip the check.
        progress: Whether to show a progress bar.

    Returns:
        Path of the file.

    Raises:
        CheckpointError: The file cannot be downloaded, or its hash is wrong.
    """
    path = cached_path(url)
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + '.part')
    with FileLock(path.with_name(path.name + '.lock')):
        if path.exists():
            return path
        fetch(url, partial, path, progress)
        found = digest(partial, hash_kind)
        if not found.startswith(hash_start):
            partial.unlink()
            raise CheckpointError(
                f'the file at {url} was downloaded, but its {hash_kind} begins with {found[: len(hash_start)]} instead '
                f'of {hash_start}, so it is damaged or another file, and was deleted; try again later'
            )
        os.replace(partial, path)
    return path


def fetch(url: str, partial: Path, path: Path, progress: bool) -> None:
    """Downloads a file completely to ``partial``, from where it ends; connects again when the connection is lost.

    Raises:
        CheckpointError: It cannot be downloaded; ``path`` is where the user may put it.
    """
    reason = ''
    for _ in range(ATTEMPTS):
        try:
            if receive(url, partial, progress):
                return
            reason = 'the connection was lost'
        except urllib.error.HTTPError as error:
            if error.code == 416:  # the partial file is longer than the file, or complete and not known to be
                partial.unlink(missing_ok=True)
                continue
            reason = f'the server answers {error.code} {error.reason}'
            break
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            reason = str(getattr(error, 'reason', error)) or type(error).__name__
            if not partial.exists():
                break
    raise CheckpointError(
        f'{url} cannot be downloaded ({reason}); download it with another program and save it as {path}, or give its '
        'path as weights (--weights on the command line)'
    )


def receive(url: str, partial: Path, progress: bool) -> bool:
    """Appends what is missing to ``partial``; returns whether the file is complete."""
    start = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={'Range': f'bytes={start}-'} if start else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        if response.status != 206:
            start = 0
        length = response.headers.get('Content-Length')
        total = None if length is None else start + int(length)
        name, mode = url.split('/')[-1], 'ab' if start else 'wb'
        bar = tqdm(total=total, desc=name, initial=start, unit='B', unit_scale=True, disable=not progress)
        with open(partial, mode) as file, bar:
            while block := response.read(BLOCK):
                file.write(block)
                bar.update(len(block))
    return total is None or partial.stat().st_size == total
