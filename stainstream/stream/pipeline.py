"""Source, engine and sinks, each on its own thread, with bounded hand-over between them."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias

from stainstream.color.convert import to_rgb8
from stainstream.engines import Engine
from stainstream.errors import EngineError, FrameError, SinkError, UsageError
from stainstream.frame import RGB8, Frame, PixelFormat
from stainstream.receipt import Note, Receipt
from stainstream.report import Report
from stainstream.resource import Resource
from stainstream.sinks import Sink
from stainstream.sources import Feed, Source

from .ledger import Ledger
from .mailbox import Mailbox, Policy
from .pool import Pool
from .watch import Watcher

__all__ = ["Pipeline"]

Begun: TypeAlias = deque[tuple[Receipt | None, bool, Callable[[], Frame]]]
"""What is under way in an engine: whom to tell, whether a sink lent the memory it goes to, and how to have it."""

_log = logging.getLogger(__name__)

_DRAIN_S = 1.0  # how long frames under way may still take to arrive after the stream was stopped
_GRACE_S = 0.4  # how long a thread may take to notice that it must give up
_COMPLAIN_EVERY_S = 1.0
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
        self.source, self.engine, self.sinks = source, engine, dict(sinks)
        source.relay = self._relay
        self._policy, self._frames, self._seconds, self._meta = policy, frames, seconds, dict(meta)
        self._watchers = tuple(watchers)
        self._engine_in_use, self._next_user = threading.Lock(), threading.Lock()
        self._notes: Counter[str] = Counter()  # of engines that were swapped for others
        self._ledger = Ledger(list(sinks))
        self._inbox: Mailbox[Frame] = Mailbox(capacity, policy)
        self._outboxes: dict[str, Mailbox[Frame]] = {
            name: Mailbox(capacity + sink.backlog, policy) for name, sink in sinks.items()
        }
        # Frames that wait, those that the engine and each sink have in hand, and some that ZeroMQ is still sending.
        # Twice, since some want the raw pixels, too, or the engine wants both in memory of its own kind.
        self._pool = Pool(2 * (len(sinks) * (capacity + 1) + 10), engine.buffer if engine is not None else None)
        # Where neither end keeps frames waiting for long, handing them from thread to thread is all that is saved.
        self._direct = (
            policy == "lossless"
            and engine is not None
            and isinstance(source, Feed)
            and all(sink.prompt for sink in sinks.values())
        )
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        self._complaints: dict[str, tuple[float, int]] = {}

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
        with self._next_user, self._engine_in_use:
            if self.engine is not None:
                self._notes.update(self.engine.counts)
            self.engine, self._meta = engine, dict(meta)
            self._pool = Pool(self._pool.limit, engine.buffer)

    def report(self) -> Report:
        """The counters now."""
        notes = self._notes.copy()
        notes.update(self.source.counts)
        if self.engine is not None:
            notes.update(self.engine.counts)
        for watcher in self._watchers:
            notes.update(watcher.counts)
        for sink in self.sinks.values():
            notes.update(sink.counts)
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
                if frame.receipt is not None:
                    frame.receipt.expect(len(self.sinks))
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

    def _pass_through(self) -> None:
        """Capture, normalize and deliver on one thread."""
        assert isinstance(self.source, Feed)
        begun, captured = Begun(), 0
        try:
            while self.source.is_open and not self._stopped.is_set() and not 0 < self._frames <= captured:
                frame = self.source.take(0.0 if begun else _WAIT_S)
                if frame is not None:
                    captured += 1
                    self._ledger.capture()
                    if frame.receipt is not None:
                        frame.receipt.expect(len(self.sinks))
                    self._begin(begun, frame)
                    del frame  # a feed's slot is free as soon as nobody refers to its pixels
                    while begun and (len(begun) >= self._depth or self._next_user.locked()):
                        self._arrive(begun)
                elif begun:
                    self._arrive(begun)
        finally:
            while begun:
                self._arrive(begun)
            for name in self.sinks:
                self._finish(name)

    @property
    def _depth(self) -> int:
        return 1 if self.engine is None else self.engine.depth

    def _normalize(self) -> None:
        begun: Begun = deque()
        try:
            while (frame := self._next(begun)) is not None:
                self._begin(begun, frame)
        finally:
            while begun:
                self._arrive(begun)
            self._close_outboxes()

    def _begin(self, begun: Begun, frame: Frame) -> None:
        """Begin to normalize a frame; the engine is in use as long as one is begun."""
        if not begun:
            with self._next_user:  # whoever waits to swap the engine goes first
                self._engine_in_use.acquire()
        try:
            begun.append((frame.receipt, *self._begun(frame, begun)))
        except (FrameError, EngineError) as error:
            self._refuse(error, frame.receipt)
        finally:
            if not begun:
                self._engine_in_use.release()

    def _next(self, begun: Begun) -> Frame | None:
        """The frame to begin next; while none waits, or somebody waits for the engine, those begun arrive."""
        while begun:
            engine = self.engine
            if engine is not None and len(begun) < self._depth and not self._next_user.locked():
                frame = self._inbox.poll()
                if frame is not None:
                    return frame
            self._arrive(begun)
        return self._inbox.get()

    def _arrive(self, begun: Begun) -> None:
        """Let the oldest frame arrive, and be delivered."""
        receipt, _, finish = begun.popleft()
        try:
            self._give(finish())
        except (FrameError, EngineError) as error:
            self._refuse(error, receipt)
        finally:
            if not begun:
                self._engine_in_use.release()

    def _pass_on(self, frame: Frame) -> None:
        """Give a frame to every sink as it is."""
        try:
            self._give(self._begun(frame)[1]())
        except FrameError as error:
            self._refuse(error, frame.receipt)

    def _refuse(self, error: FrameError | EngineError, receipt: Receipt | None) -> None:
        cause = "engine failed" if isinstance(error, EngineError) else "unusable frame"
        self._ledger.reject(cause)
        if receipt is not None:
            receipt.refuse(cause)
        self._complain("rejected frame", error)

    def _give(self, done: Frame) -> None:
        if self._direct:
            for name in self.sinks:
                self._submit(name, done)
            return
        for name, outbox in self._outboxes.items():
            if (gone := outbox.put(done)) is not None:
                self._ledger.drop("stopped" if gone is done else "sink busy", name)

    def _close_outboxes(self) -> None:
        for outbox in self._outboxes.values():
            outbox.close()

    def _begun(self, frame: Frame, before: Begun | None = None) -> tuple[bool, Callable[[], Frame]]:
        """Begin to normalize a frame; what this gives returns when it has arrived, with the frame."""
        height, width = frame.height, frame.width
        flags, plain = frame.image.flags, frame.format is PixelFormat.RGB8 and frame.image.flags.c_contiguous
        rgb = to_rgb8(frame.image, frame.format, None if plain else self._pool.take(height, width))
        seen: dict[str, Any] = {}
        for watcher in self._watchers:
            seen |= watcher.see(rgb, frame)
        raw = rgb if any(sink.wants_raw for sink in self.sinks.values()) else None
        engine, meta = self.engine, self._meta
        if engine is None:
            about = {**frame.meta, **seen, **meta}
            return False, lambda: Frame(rgb, PixelFormat.RGB8, frame.seq, frame.captured_ns, about, raw, frame.receipt)
        # A writeable image is ours to overwrite.
        ours = raw is None and (not plain or flags.carray) and not engine.pins
        lent = self._lent(engine, height, width, before)
        target = lent if lent is not None else rgb if ours else self._pool.take(height, width)
        finish = engine.submit(rgb, target)

        def arrived() -> Frame:
            out = finish()
            about = {**frame.meta, **seen, **_made(meta, engine)}
            return Frame(out, PixelFormat.RGB8, frame.seq, frame.captured_ns, about, raw, frame.receipt)

        return lent is not None, arrived

    def _lent(self, engine: Engine, height: int, width: int, before: Begun | None) -> RGB8 | None:
        """Memory of the only sink's own, if it has some.

        None while a frame is begun that has none: it will need some when it arrives, and might wait for this one's.
        """
        if not self._direct or len(self.sinks) != 1 or engine.pins or before is None:
            return None
        if not all(lent for _, lent, _ in before):
            return None
        (sink,) = self.sinks.values()
        return sink.lend(height, width)

    def _deliver(self, name: str) -> None:
        while (frame := self._outboxes[name].get()) is not None:
            self._submit(name, frame)
        self._finish(name)

    def _submit(self, name: str, frame: Frame) -> None:
        sink = self.sinks[name]
        try:
            sink.submit(frame, partial(self._done, name, frame.captured_ns, frame.receipt))
        except SinkError as error:
            self._ledger.drop("stopped" if sink.stopping.is_set() else "sink failed", name)
            self._complain("lost frame", error)
            if self._policy == "lossless" and not sink.stopping.is_set():
                self._fail(error)

    def _finish(self, name: str) -> None:
        try:
            self.sinks[name].finish(ended=not self._stopped.is_set())
        except SinkError as error:
            self._complain("lost frame", error)

    def _done(self, name: str, captured_ns: int, receipt: Receipt | None, cause: str) -> None:
        """A sink has a frame safe, or learned that it cannot be used; from any thread."""
        if cause:
            self._ledger.drop(cause, name)
        else:
            self._ledger.deliver(name, captured_ns)
        if receipt is not None:
            receipt.refuse(cause) if cause else receipt.accept()

    def _relay(self, note: Note) -> None:
        """Give every sink what a feed says between its tiles."""
        note.receipt.expect(len(self.sinks))
        for sink in self.sinks.values():
            sink.relay(note)

    def _complain(self, what: str, error: Exception) -> None:
        """Log an error, at most once a second each, with how many were not logged."""
        last, silent = self._complaints.get(what, (float("-inf"), 0))
        if time.monotonic() - last < _COMPLAIN_EVERY_S:
            self._complaints[what] = (last, silent + 1)
            return
        more = f" (and {silent} more)" if silent else ""
        _log.warning("%s: %s%s", what, error, more)
        self._complaints[what] = (time.monotonic(), 0)


def _made(meta: Mapping[str, Any], engine: Engine) -> Mapping[str, Any]:
    """`meta`, with the name of what runs if an engine gave way to its spare one."""
    model = meta.get("model")
    if not engine.counts or model is None:
        return meta
    return {**meta, "model": {**model, "engine": engine.title}}
