"""Source, engine and sinks, each on its own thread, with bounded hand-over between them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from types import MappingProxyType
from typing import Any

from stainstream.engines import Engine
from stainstream.errors import UsageError
from stainstream.frame import Frame
from stainstream.report import Report
from stainstream.resource import Resource
from stainstream.sinks import Sink
from stainstream.sources import Feed, Source

from .complaints import Complaints
from .ledger import Ledger
from .mailbox import Mailbox, Policy
from .outlets import Outlets
from .watch import Watcher
from .workbench import Workbench

__all__ = ["Pipeline"]

_log = logging.getLogger(__name__)

_DRAIN_S = 1.0  # how long frames under way may still take to arrive after the stream was stopped
_GRACE_S = 0.4  # how long a thread may take to notice that it must give up
_WAIT_S = 0.1


class Pipeline:
    """Frames from a source through an engine into sinks, in order, until the source ends or `stop` is called.

    Parameters
    ----------
    source, sinks
        Opened and closed by `run`. Every sink gets every frame, on a thread of its own.
    engine
        Open, and left open; None passes frames on as RGB8 without changing a color, on the source's thread.
    capacity
        How many frames may wait before the engine, and before each sink, beyond what `Sink.backlog` says.
    policy
        ``"live"``: a frame that finds the place full makes the oldest there be dropped, and counted. ``"lossless"``: it
        waits, which in the end makes the source wait; a sink that fails then ends the stream.
    frames, seconds
        Stop after so many captured frames, or so long; 0 for no limit.
    meta
        Added to each frame's metadata: what made it (model, digest).
    watchers
        Look at each frame before it is normalized.

    Raises
    ------
    UsageError
        If frames may be dropped that the source's feed keeps until it is told what became of them.
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
        watchers: Sequence[Watcher] = (),
    ) -> None:
        if source.keeps and policy == "live":
            raise UsageError(f"cannot drop frames of {source.target}", "it is acknowledged", "use policy lossless")
        self.source, self.sinks = source, dict(sinks)
        self._frames, self._seconds = frames, seconds
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        # Where neither end keeps frames waiting for long, handing them from thread to thread is all that is saved.
        self._direct = (
            policy == "lossless"
            and engine is not None
            and isinstance(source, Feed)
            and all(sink.prompt for sink in sinks.values())
        )
        self._ledger, complaints = Ledger(list(sinks)), Complaints()
        self._inbox: Mailbox[Frame] = Mailbox(capacity, policy)
        self._outlets = Outlets(
            sinks,
            self._ledger,
            complaints,
            capacity=capacity,
            policy=policy,
            direct=self._direct,
            stopped=self._stopped,
            fail=self._fail,
        )
        # Frames that wait, those that the engine and each sink have in hand, and some that ZeroMQ is still sending.
        # Twice, since some want the raw pixels, too, or the engine wants both in memory of its own kind.
        buffers = 2 * (len(sinks) * (capacity + 1) + 10)
        self._bench = Workbench(
            engine, self._outlets, self._ledger, complaints, meta=meta, watchers=watchers, buffers=buffers
        )
        source.relay = self._outlets.relay

    @property
    def engine(self) -> Engine | None:
        """What normalizes now."""
        return self._bench.engine

    def stop(self) -> None:
        """End the stream: nothing more is captured, frames under way get a second to arrive; from any thread."""
        self._stopped.set()
        self.source.stop()

    def swap(self, engine: Engine, meta: Mapping[str, Any]) -> None:
        """Go on with another engine, from one frame to the next; from any thread.

        Parameters
        ----------
        engine
            Open. That of before is no longer in use when this returns; closing it is left to whoever opened it.
        meta
            In place of the metadata that frames were given so far.
        """
        self._bench.swap(engine, meta)

    def report(self) -> Report:
        """The counters now."""
        notes = self._bench.counts
        notes.update(self._outlets.counts)
        notes.update(self.source.counts)
        return self._ledger.report(self.source.rejected, self.source.lost, notes)

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
            running = list(dict.fromkeys(threads.values()))
            for thread in running:
                thread.start()
            self._watch(running, tick, every)
        if not any(thread.is_alive() for thread in threads.values()):
            self._ledger.abandon("not accepted")
        if self._error is not None:
            raise self._error
        return self.report()

    def _threads(self) -> dict[str, threading.Thread]:
        """What is to run at the same time, by name, not yet started."""
        if self._direct:
            thread = threading.Thread(target=self._guard, args=(self._pass_through,), name="capture", daemon=True)
            return dict.fromkeys(("capture", *(f"sink {name}" for name in self.sinks)), thread)
        jobs: list[tuple[str, Callable[[], None]]] = [("capture", self._capture)]
        jobs += [("normalize", self._normalize)] if self.engine is not None else []
        jobs += [(f"sink {name}", partial(self._outlets.deliver, name)) for name in self.sinks]
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
        self._outlets.abandon()
        self._inbox.close()
        for _ in self._inbox.clear():
            self._ledger.drop("stopped")

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
                self._count(frame)
                if self.engine is None:
                    self._bench.begin(frame)
                    self._bench.clear()
                elif (gone := self._inbox.put(frame)) is not None:
                    self._ledger.drop("stopped" if gone is frame else "engine busy")
                if self._stopped.is_set() or count == self._frames:
                    break
        finally:
            self._inbox.close()
            if self.engine is None:
                self._outlets.close()

    def _count(self, frame: Frame) -> None:
        self._ledger.capture()
        if frame.receipt is not None:
            frame.receipt.expect(len(self.sinks))

    def _normalize(self) -> None:
        try:
            while (frame := self._next()) is not None:
                self._bench.begin(frame)
        finally:
            self._bench.clear()
            self._outlets.close()

    def _next(self) -> Frame | None:
        """The frame to begin next; while none waits, or the bench is full, those begun arrive."""
        while not self._bench.empty:
            if not self._bench.full and (frame := self._inbox.poll()) is not None:
                return frame
            self._bench.arrive()
        return self._inbox.get()

    def _pass_through(self) -> None:
        """Capture, normalize and deliver on one thread."""
        assert isinstance(self.source, Feed)
        captured = 0
        try:
            while self.source.is_open and not self._stopped.is_set() and not 0 < self._frames <= captured:
                frame = self.source.take(_WAIT_S if self._bench.empty else 0.0)
                if frame is not None:
                    captured += 1
                    self._count(frame)
                    self._bench.begin(frame)
                    del frame  # a feed's slot is free as soon as nobody refers to its pixels
                    while self._bench.full:
                        self._bench.arrive()
                elif not self._bench.empty:
                    self._bench.arrive()
        finally:
            self._bench.clear()
            self._outlets.close()
