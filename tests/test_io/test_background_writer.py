"""Background writer: ordered tasks, a bounded queue, and error propagation."""

import threading
import time

import pytest

from mmdvis.io import BackgroundWriter


def test_everything_is_done_in_order_before_the_context_is_left():
    done = []
    with BackgroundWriter(waiting=2) as background:
        for k in range(20):
            background.put(done.append, k)
    assert done == list(range(20))


def test_no_more_than_allowed_wait():
    gate, put = threading.Event(), []

    def fill(background):
        for k in range(6):
            background.put(gate.wait)
            put.append(k)

    with BackgroundWriter(waiting=3) as background:
        filler = threading.Thread(target=fill, args=(background,))
        filler.start()
        time.sleep(0.2)
        assert len(put) <= 4  # one running, three in the queue
        gate.set()
        filler.join()


def fail():
    raise OSError('the disk is full')


def test_an_error_reaches_the_caller_and_stops_the_rest():
    done = []
    with pytest.raises(OSError, match='the disk is full'):
        with BackgroundWriter(waiting=1) as background:
            background.put(fail)
            for k in range(10):
                background.put(done.append, k)
    assert not done


def test_an_error_at_the_end_is_not_lost():
    with pytest.raises(OSError, match='the disk is full'):
        with BackgroundWriter() as background:
            background.put(fail)


def test_the_callers_own_error_wins_and_nothing_hangs():
    with pytest.raises(KeyError):
        with BackgroundWriter() as background:
            background.put(fail)
            raise KeyError('mine')
