"""Source, engine and sinks, each on its own thread, with bounded hand-over between them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from types import MappingProxyType
from typing import Any

from stainstream.color.convert import to_rgb8
from stainstream.engines import Engine
from stainstream.errors import EngineError, FrameError, SinkError
from stainstream.frame import Frame, PixelFormat
from stainstream.resource import Resource
from stainstream.sinks import Sink
from stainstream.sources import Source

from .ledger import Ledger, Report
from .mailbox import Mailbox, Policy
from .pool import Pool

__all__ = ["Pipeline"]

_log = logging.getLogger(__name__)

_DRAIN_S = 1.0  # how long frames under way may still take to arrive after the stream was stopped
_GRACE_S = 0.4  # how long a thread may take to notice that it must give up
_COMPLAIN_EVERY_S = 1.0


class Pipeline:
    """Frames from a source through an engine into sinks, in order, until the source ends or `stop` is called.

    Parameters
    ----------
    source, sinks
        Opened and closed by `run`. Every sink gets every frame, on a thread of its own.
    engine
        Open, and left open; None passes frames on as RGB8 without changing a color, on the source's thread.
    capacity
        How many frames may wait before the engine, and before each sink.
    policy
        ``"live"``: a frame that finds the place full makes the oldest there be dropped, and counted. ``"lossless"``: it
        waits, which in the end makes the source wait; a sink that fails then ends the stream.
    frames, seconds
        Stop after so many captured frames, or so long; 0 for no limit.
    meta
        Added to each frame's metadata: what made it (model, digest).
    """

    def __init__(
        self,
        source: Source,
        engine: Engine | None,
        sinks: Mapping[str, Sink],
        *,
        capacity: int = 4,
        policy: Policy = "live",
        frames: int = 0,
        seconds: float = 0.0,
        meta: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.source, self.engine, self.sinks = source, engine, dict(sinks)
        self._policy, self._frames, self._seconds, self._meta = policy, frames, seconds, dict(meta)
        self._ledger = Ledger(list(sinks))
        self._inbox: Mailbox[Frame] = Mailbox(capacity, policy)
        self._outboxes: dict[str, Mailbox[Frame]] = {name: Mailbox(capacity, policy) for name in sinks}
        # Frames that wait, those that the engine and each sink have in hand, and some that ZeroMQ is still sending.
        self._pool = Pool(limit=len(sinks) * (capacity + 1) + 10)
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        self._complaints: dict[str, tuple[float, int]] = {}

    def stop(self) -> None:
        """End the stream: nothing more is captured, frames under way get a second to arrive; from any thread."""
        self._stopped.set()
        self.source.stop()

    def report(self) -> Report:
        """The counters now."""
        return self._ledger.report(self.source.rejected, self.source.lost)

    def run(self, tick: Callable[[Report], None] | None = None, every: float = 0.5) -> Report:
        """Stream until the end.

        Parameters
        ----------
        tick
            Called with the counters every `every` seconds, on the calling thread.

        Raises
        ------
        SourceError, SinkError
            If one cannot be opened, if the source is lost in mid-stream, or if a sink fails in a lossless stream. The
            counters stay readable through `report`.
        """
        threads = self._threads()
        with ExitStack() as stack:
            for name, part in {
                **{f"sink {name}": sink for name, sink in self.sinks.items()},
                "capture": self.source,
            }.items():
                part.open()
                stack.callback(self._release, part, threads[name])
            for thread in threads.values():
                thread.start()
            self._watch(list(threads.values()), tick, every)
        if self._error is not None:
            raise self._error
        return self.report()

    def _threads(self) -> dict[str, threading.Thread]:
        """What is to run at the same time, by name, not yet started."""
        jobs: list[tuple[str, Callable[[], None]]] = [("capture", self._capture)]
        jobs += [("normalize", self._normalize)] if self.engine is not None else []
        jobs += [(f"sink {name}", partial(self._deliver, name)) for name in self.sinks]
        return {name: threading.Thread(target=self._guard, args=(job,), name=name, daemon=True) for name, job in jobs}

    @staticmethod
    def _release(part: Resource, thread: threading.Thread) -> None:
        """Close a source or a sink, unless its thread hangs in it: closing it could hang as well."""
        if thread.is_alive():
            _log.error("gave up on %s, which did not stop", thread.name)
        else:
            part.close()

    def _watch(self, threads: list[threading.Thread], tick: Callable[[Report], None] | None, every: float) -> None:
        began = ticked = time.monotonic()
        stopped = None
        while alive := [thread for thread in threads if thread.is_alive()]:
            alive[-1].join(0.05)
            now = time.monotonic()
            if tick is not None and now - ticked >= every:
                ticked = now
                tick(self.report())
            if self._seconds and now - began >= self._seconds:
                self.stop()
            if self._stopped.is_set():
                stopped = now if stopped is None else stopped
                if now - stopped > _DRAIN_S:
                    self._abandon()
                if now - stopped > _DRAIN_S + _GRACE_S:
                    return

    def _abandon(self) -> None:
        """Give up the frames under way: whatever waits is dropped, whoever blocks is told."""
        for sink in self.sinks.values():
            sink.stop()
        self._inbox.close()
        for _ in self._inbox.clear():
            self._ledger.drop("stopped")
        for name, outbox in self._outboxes.items():
            outbox.close()
            for _ in outbox.clear():
                self._ledger.drop("stopped", name)

    def _guard(self, job: Callable[[], None]) -> None:
        """Run a thread's job; whatever it raises ends the stream and leaves by `run`."""
        try:
            job()
        except BaseException as error:  # noqa: BLE001 - nothing may die silently in a thread
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._error = self._error or error
        self.stop()

    def _capture(self) -> None:
        try:
            for count, frame in enumerate(self.source, 1):
                self._ledger.capture()
                if self.engine is None:
                    self._pass_on(frame)
                elif (gone := self._inbox.put(frame)) is not None:
                    self._ledger.drop("stopped" if gone is frame else "engine busy")
                if self._stopped.is_set() or count == self._frames:
                    break
        finally:
            self._inbox.close()
            if self.engine is None:
                self._close_outboxes()

    def _normalize(self) -> None:
        try:
            while (frame := self._inbox.get()) is not None:
                self._pass_on(frame)
        finally:
            self._close_outboxes()

    def _pass_on(self, frame: Frame) -> None:
        """Normalize a frame and give it to every sink."""
        try:
            done = self._normalized(frame)
        except (FrameError, EngineError) as error:
            self._ledger.reject("engine failed" if isinstance(error, EngineError) else "unusable frame")
            self._complain("rejected frame", error)
            return
        for name, outbox in self._outboxes.items():
            if (gone := outbox.put(done)) is not None:
                self._ledger.drop("stopped" if gone is done else "sink busy", name)

    def _close_outboxes(self) -> None:
        for outbox in self._outboxes.values():
            outbox.close()

    def _normalized(self, frame: Frame) -> Frame:
        flags, plain = frame.image.flags, frame.format is PixelFormat.RGB8
        if plain and (flags.carray or (self.engine is None and flags.c_contiguous)):
            out = frame.image  # a writeable image is ours to overwrite; without an engine, none is overwritten
        else:
            out = self._pool.take(frame.height, frame.width)
        rgb = to_rgb8(frame.image, frame.format, out)
        if self.engine is not None:
            self.engine(rgb, out)
        return Frame(out, PixelFormat.RGB8, frame.seq, frame.captured_ns, {**frame.meta, **self._meta})

    def _deliver(self, name: str) -> None:
        sink, outbox = self.sinks[name], self._outboxes[name]
        while (frame := outbox.get()) is not None:
            try:
                sink.write(frame)
            except SinkError as error:
                self._ledger.drop("stopped" if sink.stopping.is_set() else "sink failed", name)
                self._complain("lost frame", error)
                if self._policy == "lossless" and not sink.stopping.is_set():
                    self._fail(error)
            else:
                self._ledger.deliver(name, frame.captured_ns)

    def _complain(self, what: str, error: Exception) -> None:
        """Log an error, at most once a second each, with how many were not logged."""
        last, silent = self._complaints.get(what, (float("-inf"), 0))
        if time.monotonic() - last < _COMPLAIN_EVERY_S:
            self._complaints[what] = (last, silent + 1)
            return
        more = f" (and {silent} more)" if silent else ""
        _log.warning("%s: %s%s", what, error, more)
        self._complaints[what] = (time.monotonic(), 0)
