"""Runs functions in a background thread with a bounded queue."""

from collections.abc import Callable
from queue import Queue
from threading import Thread
from typing import Any


class BackgroundWriter:
    """Context manager that runs functions in order in one background thread.

    All functions are complete when the context exits. An error of a function is raised by the next ``put`` or at the
    exit.

    Args:
        waiting: Capacity of the queue. ``put`` blocks while the queue is full, so that a slow disk slows down the
            caller instead of filling the memory.
    """

    def __init__(self, waiting: int = 8) -> None:
        self.queue: Queue[tuple[Callable, tuple] | None] = Queue(waiting)
        self.thread = Thread(target=self.work, daemon=True)
        self.error: BaseException | None = None

    def __enter__(self) -> 'BackgroundWriter':
        self.thread.start()
        return self

    def put(self, function: Callable, *args: Any) -> None:
        """Schedules ``function(*args)``.

        If an earlier function failed, its error is raised and no further function is run.
        """
        if self.error is not None:
            raise self.error
        self.queue.put((function, args))

    def work(self) -> None:
        """Loop of the thread; after an error it only empties the queue, so that ``put`` does not block forever."""
        while True:
            task = self.queue.get()
            if task is None:
                return
            if self.error is None:
                try:
                    task[0](*task[1])
                except BaseException as error:
                    self.error = error

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if kind is not None:
            self.error = self.error or error  # skips the remaining functions
        self.queue.put(None)
        self.thread.join()
        if kind is None and self.error is not None:
            raise self.error
