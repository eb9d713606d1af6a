"""Memory-mapped index of the videos of a dataset, cached on disk under the hash of the annotation file."""

import hashlib
import json
import os
import warnings
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from mmdvis.errors import DataError
from mmdvis.io import atomic_write

FORMAT = 2  # increase when the content of the records changes
CHECKSUM_BYTES = 4  # CRC-32 of everything after it, at the start of an index file
MIN_CACHED_BYTES = 4 << 20  # smaller files are parsed each time
INDEX_COLUMNS = ('offsets', 'sizes', 'lengths', 'starts', 'categories')
Records = tuple[dict[str, Any], Iterable[dict | DataError]]


def record_or_error(make: Callable[..., Any], *args: object) -> Any:
    """Call ``make`` and return its result, or the DataError it raises.

    The caller raises the error, or collects the errors of all records to report them together.

    Args:
        make: Function to call.
        *args: Its arguments.
    """
    try:
        return make(*args)
    except DataError as error:
        return error


class AnnotationIndex:
    """Index of video records, which are decoded on access.

    Attributes:
        meta: Meta information of the annotation file.
        columns: Arrays ``offsets`` and ``starts`` (N + 1,), ``sizes`` (N, 2), ``lengths`` (N,) and ``categories``.
        blob: Concatenated JSON records.
        path: Index file, None for an index in memory.
        sizes: Height and width (N, 2) of each video, 0 if unknown.
        lengths: Number of frames (N,) of each video.
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
        """Build an index in memory.

        Args:
            meta: Meta information of the annotation file.
            records: Records with ``size`` ((height, width) or None), ``frames``, ``categories`` and ``notes``
                (warnings, which are moved to ``meta``), or the error of an invalid video.
            faults: List to which the errors are appended. If None, the first error is raised.

        Raises:
            DataError: A record is invalid and ``faults`` is None.
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
        """Category ids of the objects of a video, excluding crowds."""
        start, stop = self.columns['starts'][number : number + 2]
        return self.columns['categories'][start:stop].tolist()

    def save(self, path: Path) -> None:
        """Write the index to a temporary file, then rename it to ``path``."""
        with atomic_write(path) as temporary, open(temporary, 'w+b') as file:
            file.write(bytes(CHECKSUM_BYTES))
            np.save(file, np.frombuffer(json.dumps(self.meta).encode(), np.uint8))
            for name in INDEX_COLUMNS:
                np.save(file, self.columns[name])
            np.save(file, np.frombuffer(bytes(self.blob), np.uint8))
            file.flush()
            checksum = zlib.crc32(np.memmap(temporary, np.uint8, 'r', CHECKSUM_BYTES))
            file.seek(0)
            file.write(checksum.to_bytes(CHECKSUM_BYTES, 'little'))
            file.flush()
            os.fsync(file.fileno())

    @classmethod
    def load(cls, path: Path) -> 'AnnotationIndex':
        """Open an index file with memory-mapped records.

        Raises:
            OSError: The file cannot be read.
            ValueError: The file is damaged.
            KeyError: The file is damaged.
            EOFError: The file is damaged.
        """
        content = np.memmap(path, np.uint8, 'r') if path.stat().st_size else np.zeros(0, np.uint8)
        checksum = int.from_bytes(content[:CHECKSUM_BYTES].tobytes(), 'little')
        if len(content) <= CHECKSUM_BYTES or zlib.crc32(content[CHECKSUM_BYTES:]) != checksum:
            raise ValueError(f'{path} is not a valid index file')
        with open(path, 'rb') as file:
            file.seek(CHECKSUM_BYTES)
            meta = json.loads(np.load(file, allow_pickle=False).tobytes())
            columns = {name: np.load(file, allow_pickle=False) for name in INDEX_COLUMNS}
            version = np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file) if version == (1, 0) else ((), 0, None)
            blob_offset = file.tell()
        if dtype != np.uint8 or blob_offset + shape[0] != path.stat().st_size or shape[0] != columns['offsets'][-1]:
            raise ValueError(f'{path} is not a valid index file')
        blob = np.memmap(path, np.uint8, 'r', blob_offset, shape) if shape[0] else b''
        return cls(meta, columns, blob, path)

    def __reduce__(self) -> tuple:
        if self.path is not None:  # worker processes map the same file instead of copying the records
            return AnnotationIndex.load, (self.path,)
        return AnnotationIndex, (self.meta, self.columns, bytes(self.blob))


def cache_folder() -> Path:
    """Folder of the index files: ``$MMDVIS_CACHE``, else ``$XDG_CACHE_HOME/mmdvis``, else ``~/.cache/mmdvis``."""
    configured = os.environ.get('MMDVIS_CACHE')
    return (
        Path(configured) if configured else Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'mmdvis'
    )


def file_digest(path: Path) -> str:
    """SHA-256 digest of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def open_index(
    path: Path, kind: str, read: Callable[[Path], Records], faults: list[DataError] | None = None
) -> AnnotationIndex:
    """Open the index of an annotation file.

    The index of a file of at least ``MIN_CACHED_BYTES`` is cached in :func:`cache_folder`.

    Args:
        path: Annotation file.
        kind: Name of the reader. Each reader of a file has its own cached index.
        read: Reader of the file; returns the meta information and the records.
        faults: See :meth:`AnnotationIndex.build`. If given, the index is not cached.

    Raises:
        DataError: The annotation file is missing or malformed.
    """
    if (
        faults is not None
        or not os.path.isfile(path)
        or os.path.getsize(path) < MIN_CACHED_BYTES
        or not os.access(path, os.R_OK)
    ):
        return AnnotationIndex.build(*read(path), faults)
    index_path = cache_folder() / f'{kind}-{FORMAT}-{file_digest(path)[:40]}.index'
    try:
        index_path.parent.mkdir(parents=True, exist_ok=True)
        # one process parses the annotation file while the others wait for the index
        with FileLock(f'{index_path}.lock', mode=0o666):
            index = load_cached(index_path)
            if index is None:
                AnnotationIndex.build(*read(path)).save(index_path)
                index = AnnotationIndex.load(index_path)
            return index
    except OSError as error:
        warnings.warn(
            f'the index of {path} cannot be cached in {index_path.parent} ({error.strerror}), so the file is parsed '
            'each time; set MMDVIS_CACHE to a writable folder',
            stacklevel=2,
        )
        return AnnotationIndex.build(*read(path))


def load_cached(path: Path) -> AnnotationIndex | None:
    """Load an index file; returns None if it does not exist or is damaged."""
    try:
        return AnnotationIndex.load(path)
    except (ValueError, KeyError, OSError, EOFError):
        return None
