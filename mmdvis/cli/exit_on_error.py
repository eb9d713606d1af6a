"""Exits a program with an error message instead of a traceback if its input is invalid."""

from collections.abc import Iterator
from contextlib import contextmanager

from mmdvis.errors import MMDVISError


@contextmanager
def exit_on_error(*kinds: type[Exception]) -> Iterator[None]:
    """Exits with an error message instead of a traceback if a checkpoint, dataset or file cannot be used.

    Args:
        *kinds: Additional exception types that are reported in this way.

    Raises:
        SystemExit: If one of these errors is raised in the context.
    """
    reported: tuple[type[Exception], ...] = (MMDVISError, OSError, *kinds)
    try:
        yield
    except reported as error:
        raise SystemExit(f'error: {error_message(error)}') from None


def error_message(error: BaseException) -> str:
    """Message of an error; the traceback in errors of data loader workers is removed."""
    text = str(error)
    if 'Original Traceback' not in text:
        return text
    return text[text.rindex(f'{type(error).__name__}: ') :].partition(': ')[2].strip()
