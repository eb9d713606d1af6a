"""Exits a program with one line instead of a traceback if its input is invalid or it is interrupted."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mmdvis.errors import MMDVISError

SIGNALS = tuple(getattr(signal, name) for name in ('SIGTERM', 'SIGHUP') if hasattr(signal, name))


class TerminatedError(KeyboardInterrupt):
    """Raised by a signal that ends the process, so that temporary files are removed on the way out.

    Args:
        number: Number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f'signal {number}')
        self.number = number


@contextmanager
def exit_on_error(*kinds: type[Exception]) -> Iterator[None]:
    """Exits with one line instead of a traceback if a checkpoint, dataset or file cannot be used, or by a signal.

    The exit code is 128 plus the number of the signal: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP.

    Args:
        *kinds: Additional exception types that are reported in this way.

    Raises:
        SystemExit: If one of these errors is raised in the context, or it is interrupted.
    """
    reported: tuple[type[Exception], ...] = (MMDVISError, OSError, *kinds)
    try:
        with signals_as_exceptions():
            yield
    except reported as error:
        raise SystemExit(f'error: {error_message(error)}') from None
    except KeyboardInterrupt as error:
        print('interrupted', file=sys.stderr)
        raise SystemExit(128 + getattr(error, 'number', signal.SIGINT)) from None


@contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Raises a :class:`TerminatedError` for SIGTERM and SIGHUP in the context; only possible in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a forked worker ends without a message
            os._exit(128 + number)
        raise TerminatedError(number)

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def error_message(error: BaseException) -> str:
    """Message of an error; the traceback in errors of data loader workers is removed."""
    text = str(error)
    if 'Original Traceback' not in text:
        return text
    return text[text.rindex(f'{type(error).__name__}: ') :].partition(': ')[2].strip()
