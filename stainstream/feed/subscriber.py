"""The consumer's side of an acknowledged feed."""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self, TypeAlias

from stainstream.errors import UsageError, WireError
from stainstream.security import Curve

from .counts import Counts
from .journal import Journal
from .progress import Progress
from .receiver import MAX_FRAME_BYTES, Arrival, Receiver
from .tile import Tile, read

__all__ = ["End", "Subscriber"]

_log = logging.getLogger(__name__)

_SLICE_S = 0.1
_AHEAD = 1 << 16  # places beyond the next one that are taken in: more than any windows let be under way
_BATCH = 16  # tiles that are acknowledged at once while more are waiting


@dataclass(frozen=True, slots=True)
class End:
    """A series has ended: everything of it was handed out, and these are its counts."""

    series: str
    counts: Counts


Item: TypeAlias = Tile | End


class Subscriber:
    """Hands out the items of each series in order, each once, over all restarts of everybody.

    To be iterated over in a ``with`` block; waits for more until `stop`. A tile is accepted, and let go of by all who
    keep it, when the next one is asked for, or by `accept`. What was not accepted comes again to the next subscriber.

    Parameters
    ----------
    addresses
        Where the feed is, or several that carry the same series.
    bind
        Whether to be connected to instead of connecting.
    name
        Who the subscriber is: of several of one name the newest gets the feed, one of another name must wait.
    cursor
        A file that remembers what was accepted. It is written after the tile was worked on: where the program ends in
        between, the tile comes again, as `Tile.again` tells.
    after
        Instead of that: the last sequence accepted of each series, from wherever the results are kept. Written there
        together with the results, it makes sure that each tile is worked on once whatever happens.
    max_frame_bytes
        The largest image that may be received.
    curve, keys
        Own secret key file, and the public key that is trusted; see docs/feeds.md.
    """

    def __init__(
        self,
        addresses: str | Sequence[str],
        *,
        bind: bool = False,
        name: str = "subscriber",
        cursor: str | os.PathLike[str] | None = None,
        after: Mapping[str, int] | None = None,
        max_frame_bytes: int = MAX_FRAME_BYTES,
        curve: str = "",
        keys: str = "",
    ) -> None:
        if cursor is not None and after is not None:
            raise UsageError("cannot subscribe", "both cursor and after say where to go on", "give one of them")
        self.duplicates = 0
        """Tiles that came once more and were left out."""
        self.stopping = threading.Event()
        self._limit = max_frame_bytes
        self._journal = None if cursor is None else Journal(cursor)
        self._series = {series: Progress(last + 1, last + 1, known=False) for series, last in (after or {}).items()}
        self._changing = threading.Lock()
        self._ready: SimpleQueue[Arrival] = SimpleQueue()
        self._unsaid = 0
        self._in_hand: tuple[Arrival, Item] | None = None
        security = Curve.of(curve, keys)
        self.receivers = [
            Receiver(
                each,
                bind=bind,
                role="subscriber",
                name=name,
                take=self._take,
                max_frame_bytes=max_frame_bytes,
                curve=security,
            )
            for each in ([addresses] if isinstance(addresses, str) else addresses)
        ]

    @property
    def address(self) -> str:
        """Where it is bound, or connected to; of several, the first."""
        return self.receivers[0].link.address

    def open(self) -> None:
        """Connect, or bind."""
        for receiver in self.receivers:
            receiver.link.open()

    def close(self) -> None:
        """Let go of the feed; what was not accepted stays with those who keep it."""
        self.stop()
        for receiver in self.receivers:
            receiver.close()
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def stop(self) -> None:
        """End the iteration soon; from any thread, also a signal handler's."""
        self.stopping.set()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Item]:
        while (item := self.take()) is not None:
            yield item
            self.accept()

    def take(self, timeout: float | None = None) -> Item | None:
        """The next item, or, once more, the one that was taken and not accepted yet.

        Returns
        -------
        None after `timeout` seconds, or once `stop` was called.
        """
        left = float("inf") if timeout is None else timeout
        while self._in_hand is None:
            try:
                arrival = self._ready.get(timeout=max(0.0, min(_SLICE_S, left)))
            except Empty:
                left -= _SLICE_S
                if left <= 0 or self.stopping.is_set():
                    return None
                continue
            if self.stopping.is_set():
                return None
            self._hand_out(arrival)
        return self._in_hand[1]

    def accept(self) -> None:
        """Say that the item that was taken has been worked on; nothing if there is none."""
        if self._in_hand is not None:
            arrival, item = self._in_hand
            self._in_hand = None
            if isinstance(item, Tile):
                self._series[item.series].accepted += 1
            self._settle(arrival)

    def _hand_out(self, arrival: Arrival) -> None:
        """Have an item in hand, or settle what is none."""
        (series, seq), envelope = arrival.key, arrival.envelope
        progress = self._series[series]
        if seq != progress.next:
            return  # it became ready before an unreadable one, and will again
        if envelope["op"] == "void":
            progress.rejected[envelope["cause"]] += 1
            self._settle(arrival)
        elif envelope["op"] == "end":
            self._in_hand = arrival, End(series, progress.counts(envelope["tiles"], envelope["rejected"]))
        else:
            try:
                self._in_hand = (
                    arrival,
                    read(series, seq, arrival.body, again=progress.handed == seq, limit=self._limit),
                )
            except WireError as error:
                arrival.receiver.link.reject("unreadable tile", error)
                with self._changing:
                    progress.ready = seq  # its sender will put a void in its place
                    for each in progress.let_go(seq, arrival):
                        each.settle("unreadable tile")
            else:
                self._note(series, progress, handed=seq)

    def _settle(self, arrival: Arrival) -> None:
        series, seq = arrival.key
        progress = self._series[series]
        with self._changing:
            progress.next = seq + 1
            copies = progress.let_go(seq, arrival)
            for each in progress.advance():
                self._ready.put(each)
        self._note(series, progress)
        self._unsaid += 1
        soon = self._unsaid >= _BATCH or self._ready.empty()
        for each in copies:
            each.settle(soon=soon)
        self._unsaid = 0 if soon else self._unsaid

    def _note(self, series: str, progress: Progress, handed: int = -1) -> None:
        if self._journal is not None:
            self._journal.put(
                series,
                next=progress.next,
                accepted=progress.accepted,
                rejected=dict(progress.rejected),
                elsewhere=progress.elsewhere,
                handed=handed,
            )

    def _take(self, arrival: Arrival) -> None:
        """Take an item in; on the hub's thread."""
        series, seq = arrival.key
        with self._changing:
            progress = self._series.get(series) or self._series.setdefault(series, self._remembered(series))
            progress.base = max(progress.base, arrival.envelope["base"])
            if seq < progress.next or (seq < progress.ready and seq not in progress.held):
                self.duplicates += 1
                arrival.settle()
                return
            if seq >= max(progress.next, progress.base) + _AHEAD:
                arrival.receiver.link.reject("too far ahead", f"tile {seq} of {series}, {progress.next} is next")
                return
            self.duplicates += progress.hold(arrival)
            for each in progress.advance():
                self._ready.put(each)

    def _remembered(self, series: str) -> Progress:
        known = self._journal[series] if self._journal is not None else {}
        if not known:
            return Progress(0)
        rejected = Counter[str](known["rejected"])
        return Progress(known["next"], known["accepted"], rejected, known["elsewhere"], known["handed"])
