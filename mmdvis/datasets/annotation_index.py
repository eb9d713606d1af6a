"""The videos of a dataset as an index on disk: small in memory, quick to open, keyed by the hash of the official file."""

import hashlib
import json
import os
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from mmdvis.errors import DataError

FORMAT = 1  # grows when what readers put into records changes
MIN_CACHED_BYTES = 4 << 20  # smaller files are read anew each time
INDEX_COLUMNS = ('offsets', 'sizes', 'lengths', 'starts', 'categories')
Records = tuple[dict[str, Any], Iterable[dict | DataError]]


def record_or_error(make: Callable[..., Any], *args: object) -> Any:
    """What ``make`` gives, or the DataError it raises: who gets it raises it or, to tell all faults at once, collects it."""
    try:
        return make(*args)
    except DataError as error:
        return error


class AnnotationIndex:
    """Records of videos, each decoded only when asked for.

    Attributes:
        meta: of the whole file.
        sizes (N, 2): height and width of each video, 0 where the file does not say.
        lengths (N,): frames of each.
    """

    def __init__(
        self, meta: dict[str, Any], columns: dict[str, np.ndarray], blob: bytes | np.ndarray, path: Path | None = None
    ) -> None:
        self.meta, self.columns, self.blob, self.path = meta, columns, blob, path
        self.sizes, self.lengths = columns['sizes'], columns['lengths']

    @classmethod
    def build(
        cls, meta: dict[str, Any], records: Iterable[dict | DataError], faults: list[DataError] | None = None
    ) -> 'AnnotationIndex':
        """An index in memory.

        Args:
            meta: of the whole file.
            records: with ``size`` ((height, width) or None), ``frames``, ``categories`` and ``notes`` (sentences that end up in
                ``meta``), or what is wrong with a video.
            faults: takes up what is wrong; None: it is raised.
        """
        texts, sizes, lengths, categories, notes = [], [], [], [], []
        for record in records:
            if isinstance(record, DataError):
                if faults is None:
                    raise record
                faults.append(record)
                continue
            notes += record.pop('notes', ())
            texts.append(json.dumps(record, separators=(',', ':')).encode())
            sizes.append(record.get('size') or (0, 0))
            lengths.append(len(record['frames']))
            categories.append(sorted(set(record.get('categories', ()))))
        columns = dict(
            offsets=np.cumsum([0, *map(len, texts)], dtype=np.int64),
            sizes=np.array(sizes, np.int32).reshape(-1, 2),
            lengths=np.array(lengths, np.int32),
            starts=np.cumsum([0, *map(len, categories)], dtype=np.int64),
            categories=np.array([number for numbers in categories for number in numbers], np.int64),
        )
        return cls(json.loads(json.dumps(dict(meta, notes=notes))), columns, b''.join(texts))

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, number: int) -> dict:
        start, stop = self.columns['offsets'][number : number + 2].tolist()
        return json.loads(bytes(self.blob[start:stop]))

    def categories(self, number: int) -> list[int]:
        """Category ids of the objects of a video that are no crowd."""
        start, stop = self.columns['starts'][number : number + 2]
        return self.columns['categories'][start:stop].tolist()

    def save(self, path: Path) -> None:
        """Writes the index to a temporary name, then renames it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        number, temporary = tempfile.mkstemp(prefix=path.name, suffix='.part', dir=path.parent)
        try:
            with os.fdopen(number, 'wb') as file:
                kept = dict(self.meta, crc32=zlib.crc32(self.blob))
                np.save(file, np.frombuffer(json.dumps(kept).encode(), np.uint8))
                for name in INDEX_COLUMNS:
                    np.save(file, self.columns[name])
                np.save(file, np.frombuffer(bytes(self.blob), np.uint8))
                file.flush()
                os.fsync(file.fileno())
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary, 0o666 & ~umask)  # others may share the folder
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    @classmethod
    def load(cls, path: Path) -> 'AnnotationIndex':
        """An index whose records stay on disk.

        Raises:
            ValueError, KeyError, OSError, EOFError: the file is damaged.
        """
        with open(path, 'rb') as file:
            meta = json.loads(np.load(file, allow_pickle=False).tobytes())
            columns = {name: np.load(file, allow_pickle=False) for name in INDEX_COLUMNS}
            version = np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file) if version == (1, 0) else ((), 0, None)
            place = file.tell()
        if dtype != np.uint8 or place + shape[0] != path.stat().st_size or shape[0] != columns['offsets'][-1]:
            raise ValueError(f'{path} is damaged')
        blob = np.memmap(path, np.uint8, 'r', place, shape) if shape[0] else b''
        if zlib.crc32(blob) != meta.pop('crc32'):
            raise ValueError(f'{path} is damaged')
        return cls(meta, columns, blob, path)

    def __reduce__(self) -> tuple:
        if self.path is not None:  # a worker process maps the same file instead of taking a copy
            return AnnotationIndex.load, (self.path,)
        return AnnotationIndex, (self.meta, self.columns, bytes(self.blob))


def cache_folder() -> Path:
    """Where indices lie: ``$MMDVIS_CACHE``, else ``~/.cache/mmdvis``."""
    named = os.environ.get('MMDVIS_CACHE')
    return Path(named) if named else Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'mmdvis'


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def open_index(
    path: Path, kind: str, read: Callable[[Path], Records], faults: list[DataError] | None = None
) -> AnnotationIndex:
    """The index of an official file; that of a large file is kept in :func:`cache_folder`.

    Args:
        path: the file.
        kind: what reads it; two readers of one file have two indices.
        read: gives the meta information and the records, and says what is wrong with the file.
        faults: see :meth:`AnnotationIndex.build`; such an index is not kept.
    """
    if (
        faults is not None
        or not os.path.isfile(path)
        or os.path.getsize(path) < MIN_CACHED_BYTES
        or not os.access(path, os.R_OK)
    ):
        return AnnotationIndex.build(*read(path), faults)
    kept = cache_folder() / f'{kind}-{FORMAT}-{file_digest(path)[:40]}.index'
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(
            f'{kept}.lock', mode=0o666
        ):  # of several processes one reads the file, the others wait for its index
            found = load_cached(kept)
            if found is None:
                AnnotationIndex.build(*read(path)).save(kept)
                found = AnnotationIndex.load(kept)
            return found
    except OSError as error:
        warnings.warn(
            f'the index of {path} cannot be kept in {kept.parent} ({error.strerror}); every opening reads the whole '
            'file. Set MMDVIS_CACHE to a folder that can be written',
            stacklevel=2,
        )
        return AnnotationIndex.build(*read(path))


def load_cached(path: Path) -> AnnotationIndex | None:
    """The index in a file; None where there is none, or it is damaged."""
    try:
        return AnnotationIndex.load(path)
    except (ValueError, KeyError, OSError, EOFError):
        return None
