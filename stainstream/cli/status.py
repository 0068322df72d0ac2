"""A running stream in the terminal: a status line, signals, the counters at the end."""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Protocol

import msgspec

from stainstream.errors import UsageError
from stainstream.notify import Notifier
from stainstream.report import Report

__all__ = ["progress", "status_line", "stopping_on_signals", "stream"]

_log = logging.getLogger(__name__)

_TTY_EVERY_S, _LOG_EVERY_S, _BEAT_EVERY_S = 0.5, 5.0, 0.5


class _Stoppable(Protocol):
    """What can be told to end."""

    def stop(self) -> None: ...


class _Running(_Stoppable, Protocol):
    """What runs until it ends or is stopped: a pipeline, or a live stream."""

    def run(self, tick: Callable[[Report], None] | None = None, every: float = ...) -> Report: ...

    def report(self) -> Report: ...


def stream(
    pipeline: _Running, file: Path | None = None, *, rewrite: bool | None = None, stall_timeout: float = 0.0
) -> None:
    """Run `pipeline` with a status line; print its counters at the end, and write them to `file`.

    Parameters
    ----------
    rewrite
        Whether the status line is rewritten in place; None for where that can be seen.
    stall_timeout
        See `Pulse`: what a service manager is told.
    """
    line = _Live() if (sys.stderr.isatty() if rewrite is None else rewrite) else _Plain()
    heart = _Heart(pipeline, stall_timeout)
    shown = time.monotonic()

    def tick(report: Report) -> None:
        nonlocal shown
        heart.beat(report)
        if time.monotonic() - shown >= line.every - _BEAT_EVERY_S / 2:
            shown = time.monotonic()
            line.show(report)

    try:
        with stopping_on_signals(pipeline), line:
            pipeline.run(tick, every=min(line.every, heart.every))
    finally:
        heart.stop()
        report = pipeline.report()
        _print(report)
        if file is not None:
            _write(file, report)


class _Heart:
    """Tells a service manager, where there is one, that the stream is ready and alive; ends it with its supervisor."""

    def __init__(self, pipeline: _Running, stall_timeout: float) -> None:
        from stainstream.stream.pulse import Pulse

        self._pipeline, self._notifier, self._pulse = pipeline, Notifier(), Pulse(stall_timeout)
        self._ready = False
        self.every = _BEAT_EVERY_S if self._notifier.watched else _LOG_EVERY_S

    def beat(self, report: Report) -> None:
        if not self._ready:
            self._ready = True
            self._notifier.ready()
        if self._notifier.orphaned:
            _log.error("the supervisor has gone: this stream ends, too")
            self._pipeline.stop()
        if self._pulse.beats(report):
            self._notifier.alive(status_line(report, None))

    def stop(self) -> None:
        self._notifier.stopping()


def progress(pipeline: _Running, total: int) -> Report:
    """Run `pipeline`, which will capture `total` frames, with a progress bar; print its counters at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TimeRemainingColumn

    columns = (BarColumn(), TaskProgressColumn(), MofNCompleteColumn(), "images,", TimeRemainingColumn(), "left")
    with stopping_on_signals(pipeline), Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=total)
        try:
            pipeline.run(lambda report: bar.update(task, completed=report.delivered), every=_TTY_EVERY_S)
        finally:
            bar.update(task, completed=pipeline.report().delivered)
    report = pipeline.report()
    _print(report)
    return report


def _print(report: Report) -> None:
    facts = {"event": "end", "report": msgspec.to_builtins(report)}
    for each in report.lines():
        _log.info("%s", each, extra={"facts": facts})
        facts = {"event": "end"}


@contextmanager
def stopping_on_signals(running: _Stoppable) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the stream in good order; a second Ctrl-C ends the process."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        running.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def status_line(report: Report, previous: Report | None) -> str:
    """Rate since `previous`, latency, and what became of the frames."""
    seconds = report.seconds - (previous.seconds if previous else 0.0)
    rate = (report.delivered - (previous.delivered if previous else 0)) / max(seconds, 1e-9)
    latency = "latency {:.1f} ms p50, {:.1f} ms p99".format(*report.latency_ms) if report.latency_ms else "no frame yet"
    dropped = max(sum(each.dropped.values()) for each in report.sinks.values())
    parts = [f"{rate:.1f} frames/s", latency, f"delivered {report.delivered}", f"dropped {dropped}"]
    parts += [
        f"{what} {count}"
        for what, count in (("rejected", sum(report.rejected.values())), ("lost before us", report.lost))
        if count
    ]
    parts += [f"{what} {count}" for what, count in report.notes.items() if count]
    return " | ".join(parts)


class _Plain:
    """A line every few seconds, for logs."""

    every = _LOG_EVERY_S

    def __init__(self) -> None:
        self._previous: Report | None = None

    def __enter__(self) -> _Plain:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to undo."""

    def show(self, report: Report) -> None:
        facts = {"event": "status", "report": msgspec.to_builtins(report)}
        _log.info("%s", status_line(report, self._previous), extra={"facts": facts})
        self._previous = report


class _Live:
    """One line that is rewritten in place."""

    every = _TTY_EVERY_S

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
        self._previous: Report | None = None

    def __enter__(self) -> _Live:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, report: Report) -> None:
        self._live.update(status_line(report, self._previous), refresh=True)
        self._previous = report


def _write(file: Path, report: Report) -> None:
    try:
        file.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    except OSError as error:
        raise UsageError(f"cannot write {file}", error.strerror or str(error)) from error
