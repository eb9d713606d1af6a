"""Validation of options, shapes, run lengths, and names that become paths."""

import math
import re
import zipfile
from collections.abc import Collection
from pathlib import Path

import numpy as np

from mmdvis.errors import DataError, OptionError

Size = tuple[int, int]  # height, width
RESERVED = re.compile(r'(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?', re.IGNORECASE)  # device names of Windows
MAX_BYTES = 255  # of one part of a path, on common file systems
MAX_UNPACKED, MAX_RATIO = 1 << 26, 100  # larger archives must not be unpacked to more than a multiple of their size
ARRAY_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def check_choice(name: str, value: str, allowed: Collection[str]) -> None:
    """Checks that an option has one of the allowed values.

    Args:
        name: Name of the option for the error message.
        value: Value of the option.
        allowed: Allowed values.

    Raises:
        OptionError: If ``value`` is not in ``allowed``.
    """
    if value not in allowed:
        *first, last = map(repr, allowed)
        values = f'{", ".join(first)} or {last}' if first else last
        raise OptionError(f'{name} must be {values}, got {value!r}')


def check_shapes(owner: object, axes: dict[str, str]) -> None:
    """Checks that axes with the same letter have the same length in all fields of an object.

    Args:
        owner: Object that holds the tensors.
        axes: Field name -> one letter per axis, for example ``dict(embeds='BTQC', present='BT')``.

    Raises:
        ValueError: If a field has a different number of axes, or axes with the same letter differ in length.
    """
    lengths: dict[str, tuple[int, str]] = {}
    for name, letters in axes.items():
        shape = tuple(getattr(owner, name).shape)
        if len(shape) != len(letters):
            raise ValueError(f'{type(owner).__name__}.{name} must have the axes {letters}, got the shape {shape}')
        for letter, length in zip(letters, shape):
            first, where = lengths.setdefault(letter, (length, name))
            if first != length:
                raise ValueError(
                    f'{type(owner).__name__}: axis {letter} is {first} in {where} and {length} in {name}; '
                    'fields that share an axis must share its length'
                )


def path_inside(folder: str | Path, name: str, suffix: str = '', links: bool = False) -> Path:
    """Path of a file or folder inside ``folder``, whose name was read from a file and is not trusted.

    Args:
        folder: Folder that must contain the result.
        name: Name, which may contain subfolders separated by ``/``.
        suffix: Suffix that is added to the name, such as ``'.png'``.
        links: Whether links may lead outside the folder; for reading, as datasets are often linked together.

    Returns:
        ``folder / (name + suffix)``.

    Raises:
        DataError: If the name is empty, absolute or too long, contains ``..``, a backslash, a control character or the
            name of a device, or leads outside through a link.
    """
    reason = unsafe_part(f'{name}{suffix}') if name else 'it is empty'
    path = Path(folder) / f'{name}{suffix}'
    if reason is None and not links and not path.resolve().is_relative_to(Path(folder).resolve()):
        reason = 'a link leads outside the folder'
    if reason is not None:
        raise DataError(
            f'the name {name[:80]!r} cannot be used as a file name in {folder}: {reason}; only relative names '
            'without ".." are allowed; correct it in the file that contains it'
        )
    return path


def unsafe_part(name: str) -> str | None:
    """Why a name is not safe as a relative path; None if it is."""
    if name.startswith('/') or re.match('[A-Za-z]:', name):
        return 'it is absolute'
    if '\\' in name or any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
        return 'it contains a backslash or control character'
    for part in name.split('/'):
        if part in ('', '.', '..'):
            return f'it contains the part {part!r}'
        if RESERVED.fullmatch(part):
            return f'{part!r} is the name of a device on Windows'
        if len(part.encode(errors='surrogatepass')) > MAX_BYTES:
            return f'a part has more than {MAX_BYTES} bytes'
    return None


def run_lengths(counts: str | bytes) -> np.ndarray:
    """Decodes COCO's compressed run lengths.

    Each character holds five bits. Run 3 and all later ones (counted from 0) are stored as the difference to the run
    two before.

    Raises:
        ValueError: The string is malformed.
    """
    codes = np.frombuffer(counts.encode() if isinstance(counts, str) else counts, np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise ValueError('the string is malformed')
    ends = np.flatnonzero((codes & 32) == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    if (ends - starts).max() > 6:
        raise ValueError('the string is malformed')
    positions = np.arange(len(codes)) - np.repeat(starts, ends - starts + 1)
    values = np.add.reduceat((codes & 31) << (5 * positions), starts)
    values -= np.where(codes[ends] & 16, np.int64(1) << (5 * (ends - starts + 1)), 0)
    for first in (1, 2):  # runs 3, 4, 5, ... are stored as the difference to the run two before
        values[first::2] = np.cumsum(values[first::2])
    return values


def check_npz(path: str | Path) -> None:
    """Checks what the arrays of an ``.npz`` file need before memory is allocated for them.

    Raises:
        ValueError: The file would be unpacked to very much more than its size, or an array claims more than is there.
        zipfile.BadZipFile: The file is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        unpacked = sum(entry.file_size for entry in entries)
        if unpacked > max(MAX_UNPACKED, MAX_RATIO * Path(path).stat().st_size):
            raise ValueError(
                f'its arrays need {unpacked / 2**20:.0f} MiB, more than {MAX_RATIO} times the size of the file; save '
                'it without compression if this is right'
            )
        for entry in entries:
            with archive.open(entry) as file:
                version = np.lib.format.read_magic(file)
                if version not in ARRAY_HEADERS:
                    raise ValueError(f'the array {entry.filename} has the unknown format {version}')
                shape, _, dtype = ARRAY_HEADERS[version](file)
                claimed, present = math.prod(shape) * dtype.itemsize, entry.file_size - file.tell()
            if not dtype.hasobject and claimed != present:
                raise ValueError(f'the array {entry.filename} claims {claimed} bytes, but has {present}')
