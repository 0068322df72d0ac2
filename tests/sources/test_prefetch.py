"""Work done ahead."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future

import pytest

from stainstream.sources.prefetch import prefetch


def _squared(number: int) -> int:
    if number % 5 == 3:
        raise ValueError(str(number))
    time.sleep(0.001 * (number % 3))  # so that they finish in another order
    return number * number


def _outcome(future: Future[int]) -> int | str:
    error = future.exception()
    return future.result() if error is None else str(error)


def test_keeps_the_order_and_passes_errors_on() -> None:
    outcomes = [(item, _outcome(future)) for item, future in prefetch(_squared, range(40), ahead=4, threads=3)]
    assert outcomes == [(n, str(n) if n % 5 == 3 else n * n) for n in range(40)]


@pytest.mark.parametrize(("ahead", "threads"), [(0, 1), (1, 4), (4, 2)])
def test_looks_ahead_only_so_far(ahead: int, threads: int) -> None:
    begun: list[int] = []
    for done, (_, future) in enumerate(prefetch(begun.append, range(30), ahead=ahead, threads=threads), 1):
        future.result()
        assert done <= len(begun) <= done + ahead
    assert sorted(begun) == list(range(30))


def test_works_while_the_consumer_does_something_else() -> None:
    both = threading.Barrier(2, timeout=5)
    items = prefetch(lambda _: both.wait(), range(2), ahead=1, threads=2)
    _, future = next(items)
    future.result()  # it could not end if the second had not begun
    assert [item for item, _ in items] == [1]


def test_leaving_early_gives_up_what_has_not_begun() -> None:
    begun: list[int] = []
    gate = threading.Event()

    def load(item: int) -> None:
        begun.append(item)
        gate.wait(5)

    for item, _ in prefetch(load, range(100), ahead=20, threads=1):
        assert item == 0
        break
    gate.set()
    time.sleep(0.05)
    assert len(begun) <= 2
