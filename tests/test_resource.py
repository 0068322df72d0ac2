"""Open, use, close."""

from __future__ import annotations

import threading
import time

import pytest

from stainstream.resource import Resource


class Counting(Resource):
    """Writes down what is asked of it; fails to open as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.failures = failures

    def _open(self) -> None:
        time.sleep(0.01)  # so that threads which ought to wait are seen if they do not
        self.calls.append("open")
        if self.failures:
            self.failures -= 1
            raise OSError("busy")

    def _close(self) -> None:
        time.sleep(0.01)
        self.calls.append("close")


def _from_threads(*actions: object) -> None:
    barrier = threading.Barrier(len(actions))

    def act(action: object) -> None:
        assert callable(action)
        barrier.wait()
        action()

    threads = [threading.Thread(target=act, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_with_block_opens_and_closes() -> None:
    resource = Counting()
    assert not resource.is_open
    with resource as entered:
        assert entered is resource
        assert resource.is_open
    assert not resource.is_open
    assert resource.calls == ["open", "close"]


def test_an_error_in_the_block_leaves_it_and_closes() -> None:
    resource = Counting()
    with pytest.raises(ZeroDivisionError), resource:
        _ = 1 // 0
    assert resource.calls == ["open", "close"]


def test_opening_and_closing_twice_does_nothing_more() -> None:
    resource = Counting()
    resource.close()
    resource.open()
    resource.open()
    resource.close()
    resource.close()
    assert resource.calls == ["open", "close"]


def test_it_opens_again() -> None:
    resource = Counting()
    for _ in range(2):
        with resource:
            assert resource.is_open
    assert resource.calls == ["open", "close"] * 2


def test_what_failed_to_open_is_closed_and_may_be_tried_again() -> None:
    resource = Counting(failures=1)
    with pytest.raises(OSError, match="busy"):
        resource.open()
    assert not resource.is_open
    assert resource.calls == ["open", "close"]
    resource.close()
    assert resource.calls == ["open", "close"]
    with resource:
        assert resource.is_open


def test_threads_open_it_once() -> None:
    resource = Counting()
    _from_threads(*[resource.open] * 6)
    assert resource.is_open
    assert resource.calls == ["open"]


def test_threads_close_it_once() -> None:
    resource = Counting()
    resource.open()
    _from_threads(*[resource.close] * 6)
    assert not resource.is_open
    assert resource.calls == ["open", "close"]


def test_opening_and_closing_at_once_never_interleave() -> None:
    resource = Counting()
    _from_threads(*[resource.open, resource.close] * 4)
    resource.close()
    assert resource.calls == ["open", "close"] * (len(resource.calls) // 2)
