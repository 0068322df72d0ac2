"""The sinks of a stream, each with its own place for frames that wait."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial

from stainstream.errors import SinkError
from stainstream.frame import RGB8, Frame
from stainstream.receipt import Note, Receipt
from stainstream.sinks import Sink

from .complaints import Complaints
from .ledger import Ledger
from .mailbox import Mailbox, Policy

__all__ = ["Outlets"]


class Outlets:
    """Every frame given goes to every sink, and its fate to the ledger and to whoever waits for a receipt.

    Parameters
    ----------
    sinks
        By name.
    capacity, policy
        As `Pipeline` has them.
    direct
        Write to the sinks on the thread that gives a frame, without mailboxes.
    stopped
        Set when the stream is stopped.
    fail
        Called with the error that ends a lossless stream.
    """

    def __init__(
        self,
        sinks: Mapping[str, Sink],
        ledger: Ledger,
        complaints: Complaints,
        *,
        capacity: int,
        policy: Policy,
        direct: bool,
        stopped: threading.Event,
        fail: Callable[[BaseException], None],
    ) -> None:
        self.sinks = dict(sinks)
        self._ledger, self._complaints, self._fail = ledger, complaints, fail
        self._policy, self._direct, self._stopped = policy, direct, stopped
        self._boxes: dict[str, Mailbox[Frame]] = {
            name: Mailbox(capacity + sink.backlog, policy) for name, sink in sinks.items()
        }

    @property
    def wants_raw(self) -> bool:
        """Whether any sink wants frames as they were before, too."""
        return any(sink.wants_raw for sink in self.sinks.values())

    @property
    def counts(self) -> Counter[str]:
        """What the sinks counted themselves."""
        counts: Counter[str] = Counter()
        for sink in self.sinks.values():
            counts.update(sink.counts)
        return counts

    def lend(self, height: int, width: int) -> RGB8 | None:
        """Memory of the only sink's own for a frame to be written into, if there is one that writes at once."""
        if not self._direct or len(self.sinks) != 1:
            return None
        (sink,) = self.sinks.values()
        return sink.lend(height, width)

    def give(self, frame: Frame) -> None:
        """Hand a frame over to every sink, or to its mailbox."""
        if self._direct:
            for name in self.sinks:
                self._submit(name, frame)
            return
        for name, box in self._boxes.items():
            if (gone := box.put(frame)) is not None:
                self._ledger.drop("stopped" if gone is frame else "sink busy", name)

    def relay(self, note: Note) -> None:
        """Give every sink what a feed says between its tiles."""
        note.receipt.expect(len(self.sinks))
        for sink in self.sinks.values():
            sink.relay(note)

    def deliver(self, name: str) -> None:
        """Write one sink's frames until no more come: its thread's job."""
        while (frame := self._boxes[name].get()) is not None:
            self._submit(name, frame)
        self._finish(name)

    def close(self) -> None:
        """No more frames come. Of sinks that are written to at once, this is the end."""
        if self._direct:
            for name in self.sinks:
                self._finish(name)
        for box in self._boxes.values():
            box.close()

    def abandon(self) -> None:
        """Drop whatever waits; whoever blocks is told."""
        for sink in self.sinks.values():
            sink.stop()
        for name, box in self._boxes.items():
            box.close()
            for _ in box.clear():
                self._ledger.drop("stopped", name)

    def _submit(self, name: str, frame: Frame) -> None:
        sink = self.sinks[name]
        try:
            sink.submit(frame, partial(self._done, name, frame.captured_ns, frame.receipt))
        except SinkError as error:
            self._ledger.drop("stopped" if sink.stopping.is_set() else "sink failed", name)
            self._complaints.complain("lost frame", error)
            if self._policy == "lossless" and not sink.stopping.is_set():
                self._fail(error)

    def _finish(self, name: str) -> None:
        try:
            self.sinks[name].finish(ended=not self._stopped.is_set())
        except SinkError as error:
            self._complaints.complain("lost frame", error)

    def _done(self, name: str, captured_ns: int, receipt: Receipt | None, cause: str) -> None:
        """A sink has a frame safe, or learned that it cannot be used; from any thread."""
        if cause:
            self._ledger.drop(cause, name)
        else:
            self._ledger.deliver(name, captured_ns)
        if receipt is not None:
            receipt.refuse(cause) if cause else receipt.accept()
