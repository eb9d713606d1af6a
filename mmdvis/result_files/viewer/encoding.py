"""Bytes as text that may stand in a script element of an HTML file, and the maps of frames as bytes."""

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

# printable ASCII characters that need no escape in HTML, JavaScript or JSON; ``<`` could end the script element
ALPHABET = ''.join(chr(code) for code in range(33, 127) if chr(code) not in '"<\\')
BITS = 13  # in two characters, because 91 * 91 >= 2 ** 13: 23 % more bytes, base64 would be 33 % more
BLOCK = 13 << 16  # bytes that are encoded at once, a multiple of 13
NO_SCORE = 255


def encode_bytes(content: bytes) -> str:
    """Bytes as text: each group of 13 bits, first bit first, is two characters ``high * 91 + low``.

    The last group is filled with zeros, so the reader must know the number of bytes.
    """
    bits = np.unpackbits(np.frombuffer(content, np.uint8))
    groups = np.pad(bits, (0, -len(bits) % BITS)).reshape(-1, BITS)
    values = groups.astype(np.int32) @ (1 << np.arange(BITS - 1, -1, -1))
    table = np.frombuffer(ALPHABET.encode(), np.uint8)
    return table[np.stack(np.divmod(values, len(ALPHABET)), 1)].tobytes().decode()


def encode_file(file: BinaryIO) -> Iterator[str]:
    """Encodes a file as text, in chunks."""
    while block := file.read(BLOCK):
        yield encode_bytes(block)


def varints(values: np.ndarray) -> bytes:
    """Non-negative integers as bytes of 7 bits, lowest first; the highest bit says that more follow."""
    values = values.astype(np.uint64)
    columns = [(values >> np.uint64(7 * k)) & np.uint64(127) for k in range(5)]
    longer = [values >= np.uint64(1) << np.uint64(7 * (k + 1)) for k in range(5)]
    digits = np.stack([column | (more.astype(np.uint64) << np.uint64(7)) for column, more in zip(columns, longer)], 1)
    used = np.stack([np.ones(len(values), bool), *longer[:4]], 1)
    return digits[used].astype(np.uint8).tobytes()


def run_lengths(index: np.ndarray) -> np.ndarray:
    """Alternating values and lengths (2 R,) of the runs of a map (H, W), row by row."""
    flat = index.ravel()
    starts = np.flatnonzero(np.r_[True, flat[1:] != flat[:-1]])
    return np.stack([flat[starts], np.diff(np.r_[starts, len(flat)])], 1).ravel()


def encode_frame(objects: list[tuple[int, float | None]], index: np.ndarray) -> bytes:
    """A frame as bytes.

    Args:
        objects: Number in the table of the video and score in [0, 1], or None, of each object of the frame.
        index: Position + 1 in ``objects`` of every pixel (H, W), 0 is void.

    Returns:
        Number of objects; number and score (in 254 steps, 255: none) of each; number of runs; value and length of each.
    """
    runs = run_lengths(index)
    scores = [NO_SCORE if score is None else round(254 * score) for _, score in objects]
    head = [len(objects), *(value for (k, _), score in zip(objects, scores) for value in (k, score))]
    return varints(np.array([*head, len(runs) // 2])) + varints(runs)
