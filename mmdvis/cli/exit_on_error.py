"""Ends a program with one sentence where its input is at fault."""

from collections.abc import Iterator
from contextlib import contextmanager

from mmdvis.errors import CheckpointError, DataError


@contextmanager
def exit_on_error(*kinds: type) -> Iterator[None]:
    """Ends the program with one sentence where a checkpoint is refused or not there, or data cannot be used.

    Args:
        kinds: further errors that are told so.
    """
    try:
        yield
    except (CheckpointError, DataError, OSError, *kinds) as error:
        raise SystemExit(f'error: {error_message(error)}') from None


def error_message(error: BaseException) -> str:
    """The message of an error; of one that comes from a worker of a dataloader, without the traceback it carries."""
    text = str(error)
    if 'Original Traceback' not in text:
        return text
    return text[text.rindex(f'{type(error).__name__}: ') :].partition(': ')[2].strip()
