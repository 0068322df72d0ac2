"""Work done ahead of whoever needs it."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["prefetch"]

T = TypeVar("T")
R = TypeVar("R")


def prefetch(load: Callable[[T], R], items: Iterable[T], *, ahead: int, threads: int) -> Iterator[tuple[T, Future[R]]]:
    """Yield each item with what `load` makes of it, in order, while threads work on the next ones.

    Parameters
    ----------
    load
        Called on other threads; its error is raised by the future's ``result()``.
    ahead
        How many results may exist or be under way beyond the one just yielded.
    threads
        How many calls of `load` run at once.
    """
    source = iter(items)
    waiting: deque[tuple[T, Future[R]]] = deque()
    pool = ThreadPoolExecutor(threads, "prefetch")
    try:
        while True:
            for item in itertools.islice(source, ahead + 1 - len(waiting)):
                waiting.append((item, pool.submit(load, item)))
            if not waiting:
                return
            yield waiting.popleft()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
