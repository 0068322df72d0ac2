"""How far a training is: rate and time left, on a terminal or as lines of a log."""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Iterator
from types import FrameType

__all__ = ["steps", "stopping"]

_log = logging.getLogger(__name__)

_LOG_EVERY_S = 30.0


def steps(start: int, total: int, what: str, *, shown: bool = True) -> Iterator[int]:
    """Count from `start` to `total`, with a bar on stderr, or a line every half minute where that is no terminal."""
    if not shown or start >= total:
        yield from range(start, total)
    elif sys.stderr.isatty():
        yield from _bar(start, total, what)
    else:
        yield from _lines(start, total, what)


def _bar(start: int, total: int, what: str) -> Iterator[int]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    rate = TextColumn("{task.fields[rate]} steps/s,")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn(), "left")
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=total, completed=start, rate="-")
        began = time.monotonic()
        for step in range(start, total):
            yield step
            rated = (step + 1 - start) / (time.monotonic() - began)
            progress.update(task, completed=step + 1, rate=f"{rated:.2f}")


def _lines(start: int, total: int, what: str) -> Iterator[int]:
    began = last = time.monotonic()
    for step in range(start, total):
        yield step
        now = time.monotonic()
        if now - last >= _LOG_EVERY_S or step + 1 == total:
            rate = (step + 1 - start) / (now - began)
            left = time.strftime("%H:%M:%S", time.gmtime((total - step - 1) / rate))
            _log.info("%s: step %d of %d, %.2f steps/s, %s left", what, step + 1, total, rate, left)
            last = now


class stopping:  # noqa: N801 (a context manager that is used as a verb)
    """Turn Ctrl-C and SIGTERM into a question that is asked between two steps; a second Ctrl-C ends the process.

    Outside the main thread, which alone may set signal handlers, nothing is changed.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> stopping:
        import threading

        if threading.current_thread() is threading.main_thread():
            self._before = {each: signal.signal(each, self._stop) for each in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
