"""Work that is done beside the caller's, in its order, with a bounded number of things waiting."""

from collections.abc import Callable
from queue import Queue
from threading import Thread
from typing import Any


class BackgroundWriter:
    """A context with one thread; what is put in is done before the context is left, and its errors are raised there or before.

    Args:
        waiting: things that may wait; ``put`` waits for room, so that a slow disk slows the caller and fills no memory.
    """

    def __init__(self, waiting: int = 8) -> None:
        self.queue: Queue[tuple[Callable, tuple] | None] = Queue(waiting)
        self.thread = Thread(target=self.work, daemon=True)
        self.error: BaseException | None = None

    def __enter__(self) -> 'BackgroundWriter':
        self.thread.start()
        return self

    def put(self, function: Callable, *args: Any) -> None:
        """Has ``function(*args)`` done; raises the error of an earlier one, after which nothing more is done."""
        if self.error is not None:
            raise self.error
        self.queue.put((function, args))

    def work(self) -> None:
        """The thread's loop; after an error it only empties the queue, so that nobody waits for ever."""
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
            self.error = self.error or error  # what still waits is not worth doing
        self.queue.put(None)
        self.thread.join()
        if kind is None and self.error is not None:
            raise self.error
