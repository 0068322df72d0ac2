"""A running stream in the terminal: a status line, signals, the counters at the end."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import msgspec
import typer

from stainstream.errors import UsageError
from stainstream.stream.ledger import Report
from stainstream.stream.pipeline import Pipeline

__all__ = ["progress", "status_line", "stopping_on_signals", "stream"]

_TTY_EVERY_S, _LOG_EVERY_S = 0.5, 5.0


def stream(pipeline: Pipeline, file: Path | None = None) -> None:
    """Run `pipeline` with a status line; print its counters at the end, and write them to `file`."""
    line = _Live() if sys.stderr.isatty() else _Plain()
    try:
        with stopping_on_signals(pipeline), line:
            pipeline.run(line.show, every=line.every)
    finally:
        report = pipeline.report()
        _print(report)
        if file is not None:
            _write(file, report)


def progress(pipeline: Pipeline, total: int) -> Report:
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
    for each in report.lines():
        typer.echo(f"stainstream: {each}", err=True)


@contextmanager
def stopping_on_signals(pipeline: Pipeline) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the stream in good order; a second Ctrl-C ends the process."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        pipeline.stop()

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
        typer.echo(f"stainstream: {status_line(report, self._previous)}", err=True)
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
