"""The scanner's side of an acknowledged feed."""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import Any, Self, TypeAlias

from stainstream.errors import FeedFull, UsageError
from stainstream.security import Curve

from .counts import Counts
from .journal import Journal
from .sender import Item, Sender
from .tile import written
from .window import Window

__all__ = ["Publisher", "Series"]

Part: TypeAlias = bytes | bytearray | memoryview
Pixels: TypeAlias = Any  # whatever has the buffer interface: bytes, a memoryview, a NumPy array

_log = logging.getLogger(__name__)

_NAME = 256


class Publisher:
    """Sends series of tiles, and keeps each tile until somebody at the far end has accepted it.

    To be used in a ``with`` block, from one thread at a time. Whoever receives may come later, go away, and come back:
    tiles are sent again as often as needed. Leaving the block waits for nothing; `Series.end` does.

    Parameters
    ----------
    address
        ``"tcp://*:5555"``, ``"ipc:///tmp/scanner"``; port 0 for any free one, see `Publisher.address`.
    bind
        Whether to bind there, or to connect to a runtime that is bound.
    window, window_bytes
        How many tiles, and how many bytes of them, may be under way; `Series.send` waits then.
    journal
        A file that remembers how far each series has come, so that `Publisher.begin` goes on from there after the
        program was killed.
    name
        What the scanner calls itself.
    curve, keys
        Own secret key file, and the public keys that are trusted; see docs/feeds.md.
    """

    def __init__(
        self,
        address: str,
        *,
        bind: bool = True,
        window: int = 64,
        window_bytes: int = 256 << 20,
        journal: str | os.PathLike[str] | None = None,
        name: str = "scanner",
        curve: str = "",
        keys: str = "",
    ) -> None:
        if not (1 <= window <= 4096 and 1 <= window_bytes <= 1 << 30):
            raise UsageError(f"cannot use a window of {window} tiles, {window_bytes} bytes", "up to 4096 and 1 GiB fit")
        self.sender = Sender(address, bind=bind, name=name, curve=Curve.of(curve, keys))
        self.window = Window(window, window_bytes)
        self.stopping = threading.Event()
        """Set to make whatever waits give up."""
        self._path, self._journal = journal, None if journal is None else Journal(journal)
        self._writing = threading.Lock()
        self._unwritten = False

    @property
    def address(self) -> str:
        """Where it is bound, or connected to."""
        return self.sender.link.address

    def begin(self, series: str | None = None, **about: Any) -> Series:
        """Begin a series, or go on with one that the journal knows.

        Parameters
        ----------
        series
            Its name, which must be another one for each scan: a tile is known by its series and its place in it, and
            whoever has one already will not take it again. Made up if there is none.
        about
            Added to the header of each of its tiles.
        """
        name = series or uuid.uuid4().hex
        if len(name) > _NAME:
            raise UsageError(f"cannot begin series {name[:40]!r}...", f"a name has at most {_NAME} characters")
        return Series(self, name, about, self._journal[name] if self._journal else {})

    def note(self, series: str, **word: Any) -> None:
        """Write into the journal, if there is one; from any thread.

        Where it cannot be written the scan goes on: after a restart, tiles come again that were accepted already.
        """
        with self._writing:
            if self._journal is None:
                return
            try:
                self._journal.put(series, **word)
                self._unwritten = False
            except OSError as error:
                if not self._unwritten:
                    _log.error("cannot write %s: %s; a restart will send tiles again", self._path, error)
                self._unwritten = True

    def open(self) -> None:
        """Bind or connect."""
        self.sender.link.open()

    def close(self) -> None:
        """Let go of the address; what was not accepted is forgotten here."""
        self.stopping.set()
        self.sender.link.close()
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Series:
    """Tiles that belong together, numbered from 0."""

    def __init__(self, publisher: Publisher, name: str, about: Mapping[str, Any], known: Mapping[str, Any]) -> None:
        self.name, self.epoch = name, uuid.uuid4().hex
        self.ended: bool = known.get("ended", False)
        """Whether its end was accepted."""
        self.next: int = known.get("next", 0) - self.ended
        """The place of the tile that `send` takes next; of a series that goes on: the first that was not accepted."""
        self.base = self.next
        """The first place that is not settled yet."""
        self._publisher, self._about = publisher, dict(about)
        self._rejected: Counter[str] = Counter(known.get("rejected", {}))
        self._settled: set[int] = set()
        self._noting = threading.Lock()
        self._ending = False

    @property
    def counts(self) -> Counts:
        """What has become of the tiles so far."""
        with self._noting:
            rejected = dict(self._rejected)
            settled = min(self.base, self.next) + len(self._settled)
        return Counts(self.next, settled - sum(rejected.values()), rejected)

    def send(
        self,
        pixels: Pixels,
        shape: Sequence[int] | None = None,
        *,
        dtype: str | None = None,
        pixel_format: str | None = None,
        meta: Mapping[str, Any] = MappingProxyType({}),
        encoding: str = "",
        copy: bool = True,
        timeout: float | None = None,
    ) -> int:
        """Send the next tile.

        Parameters
        ----------
        pixels
            Rows from the top, channels interleaved: bytes, a memoryview, a NumPy array ...
        shape, dtype
            ``(height, width[, channels])`` and ``"uint8"`` or ``"uint16"``, where `pixels` does not say so itself.
        pixel_format
            GenICam PFNC name; by default RGB8 (RGB16) of three channels, Mono8 (Mono16) of one.
        meta
            What belongs to the tile: stage position, pixel size ... (anything that JSON can say).
        encoding
            ``"lz4"``, ``"zstd"`` or ``"jpeg"`` to compress the pixels; needs the extra ``compress``.
        copy
            False to send from where the pixels lie: they must not change until the tile is accepted.
        timeout
            Seconds to wait for room in the window; None for as long as it takes, 0 not to wait.

        Returns
        -------
        The tile's place in the series.

        Raises
        ------
        FeedFull
            If there is no room in the window.
        UsageError
            If these are no pixels, or none that can be compressed so.
        MissingExtra
            If the library for `encoding` is not installed.
        """
        known = {
            "source": self._publisher.sender.name,
            "epoch": self.epoch,
            "series": self.name,
            "frame": self.next,
        }
        topic, header, flat = written(pixels, shape, dtype, pixel_format, encoding, {**self._about, **meta, **known})
        return self.put((topic, header, bytes(flat) if copy and not encoding else flat), timeout)

    def put(
        self,
        body: Sequence[Part],
        timeout: float | None = None,
        done: Callable[[str], None] = lambda _: None,
    ) -> int:
        """Send the next tile, as a message of a wire format that is already written; see `send`.

        Parameters
        ----------
        done
            Called once the tile is accepted (``""``), or known to be of no use (the cause); on another thread.
        """
        publisher, size = self._publisher, sum(map(len, body))
        if self.ended:
            raise UsageError(f"cannot send a tile of {self.name}", "the series has ended", "begin another one")
        if not publisher.window.enter(size, timeout, publisher.stopping):
            raise FeedFull(
                f"cannot send tile {self.next} of {self.name}",
                f"{publisher.sender.unsettled} tiles wait to be accepted",
                "is somebody there who takes them? see docs/feeds.md",
            )
        self._submit("tile", size, body, {}, done)
        self.next += 1
        return self.next - 1

    def end(self, timeout: float | None = None) -> Counts:
        """End the series, and wait until all of it has been accepted.

        Raises
        ------
        FeedFull
            If it has not been after `timeout` seconds; the end may be called again.
        """
        publisher = self._publisher
        if not self.ended:
            self._drain(timeout)
            if not self._ending:
                self._ending = publisher.window.enter(0, timeout, publisher.stopping)
                more = {"tiles": self.next, "rejected": dict(self._rejected)}
                self._submit("end", 0, (), more, lambda _: None)
            self._drain(timeout)
        return self.counts

    def _drain(self, timeout: float | None) -> None:
        if not self._publisher.window.drained(timeout, self._publisher.stopping):
            raise FeedFull(f"cannot end {self.name}", f"{self._publisher.sender.unsettled} tiles wait to be accepted")

    def _submit(
        self, op: str, size: int, body: Sequence[Part], more: Mapping[str, Any], done: Callable[[str], None]
    ) -> None:
        item = Item(op, self.name, self.next, lambda: self.base, done, body, more)

        def settled(cause: str) -> None:
            """On the hub's thread."""
            if cause and op == "tile":
                # Its place is still to be accepted, so that nobody waits for it.
                item.op, item.body, item.more = "void", (), {"cause": cause}
                item.settled = lambda _: self._settle(item, size, cause, done)
                self._publisher.sender.submit(item)
            else:
                self._settle(item, size, "", done)

        item.settled = settled
        self._publisher.sender.submit(item)

    def _settle(self, item: Item, size: int, cause: str, done: Callable[[str], None]) -> None:
        with self._noting:
            self.ended = self.ended or item.op == "end"
            if cause:
                self._rejected[cause] += 1
            self._settled.add(item.seq)
            while self.base in self._settled:
                self._settled.discard(self.base)
                self.base += 1
            self._publisher.note(self.name, next=self.base, rejected=dict(self._rejected), ended=self.ended)
        self._publisher.window.leave(size)
        done(cause)
