"""Ends a program with one sentence if its input is invalid."""

from collections.abc import Iterator
from contextlib import contextmanager

from mmdvis.errors import CheckpointError, DataError


@contextmanager
def exit_on_error(*kinds: type[Exception]) -> Iterator[None]:
    """Ends the program with one sentence instead of a traceback if a checkpoint, dataset or file cannot be used.

    Args:
        *kinds: further kinds of errors that are reported in this way.
    """
    reported: tuple[type[Exception], ...] = (CheckpointError, DataError, OSError, *kinds)
    try:
        yield
    except reported as error:
        raise SystemExit(f'error: {error_message(error)}') from None


def error_message(error: BaseException) -> str:
    """The message of an error, without the traceback that errors of data loader workers contain."""
    text = str(error)
    if 'Original Traceback' not in text:
        return text
    return text[text.rindex(f'{type(error).__name__}: ') :].partition(': ')[2].strip()
