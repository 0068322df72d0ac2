"""The newest frame, and the viewers who wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import deque
from concurrent.futures import Executor
from dataclasses import dataclass

import msgspec

from stainstream.frame import Frame

from .messages import Look
from .pair import Pair
from .vitals import Focus, measure

__all__ = ["Counts", "Hub", "Seat"]

_MOST_CREDIT = 2
_VITALS_EVERY_S = 0.2
# Parts of a period. Who asks when less than the first is left gets the next frame, and not an old one, if it comes at
# most the second late. Frames come unevenly where encoding takes a large part of the processors.
_WORTH_WAITING, _LATE = 0.25, 0.5
_LONG_S = 0.2  # longer periods are taken for this one: nobody waits long for what may not come


class Seat:
    """One viewer's place: the newest frame is due whenever the viewer has credit and has not had it yet.

    Nothing queues up here. Of frames the newest wins, of texts the newest of each kind; what was sent last is held for
    snapshots, no more than may be on the way.
    """

    def __init__(self, hub: Hub, look: Look, *, listens: bool) -> None:
        self.id = secrets.token_urlsafe(12)
        self.look = look
        self.credit = 0
        self.listens = listens
        """Whether this viewer is told about the stream, too, and not only shown frames."""
        self.wake = asyncio.Event()
        self._hub = hub
        self._texts: dict[str, bytes] = {}
        self._held: deque[Pair] = deque(maxlen=_MOST_CREDIT + 1)
        self._again: Pair | None = None

    def grant(self, credit: int) -> None:
        """Let so many more frames be sent."""
        self.credit = min(self.credit + credit, _MOST_CREDIT)
        self.wake.set()

    def look_at(self, look: Look) -> None:
        """Send frames so from now on."""
        self.look = look
        self._again = None if look.again is None else self.held(look.again)
        self.wake.set()

    def held(self, seq: int) -> Pair | None:
        """A frame that was sent last, by its number."""
        return next((pair for pair in self._held if pair.frame.seq == seq), None)

    def say(self, kind: str, text: bytes) -> None:
        """Send a text soon, in place of one of the same kind that has not been sent."""
        self._texts[kind] = text
        self.wake.set()

    def texts(self) -> list[bytes]:
        """What is to be said now."""
        said, self._texts = list(self._texts.values()), {}
        return said

    def due(self) -> Pair | None:
        """The frame to be sent now, if any; it counts as sent."""
        if (again := self._again) is not None:
            self._again = None
            return again
        newest = self._hub.newest
        if not self.credit or newest is None or (self._held and self._held[-1] is newest):
            return None
        if self.look.raw is not None and newest.frame.raw is None:
            return None  # it was on its way before anybody wanted to see raw pixels
        left, period = self._hub.next_in_s(), min(self._hub.period_s, _LONG_S)
        late = _LATE * period
        if -late < left < _WORTH_WAITING * period:
            asyncio.get_running_loop().call_later(left + late, self.wake.set)
            return None
        self.credit -= 1
        self._held.append(newest)
        return newest


@dataclass(slots=True)
class Counts:
    """What was sent since the server began."""

    frames: int = 0
    size: int = 0
    """In bytes."""

    def add(self, message: bytes) -> None:
        """Count a frame's message."""
        self.frames += 1
        self.size += len(message)


class Hub:
    """Hands each new frame to the seats; lives on the server's event loop, but for `offer` and `watched`.

    Parameters
    ----------
    workers
        Where frames are measured and encoded.
    """

    def __init__(self, workers: Executor) -> None:
        self.watched = False
        """Whether anybody looks; to be read from any thread."""
        self.newest: Pair | None = None
        self.seats: set[Seat] = set()
        self.sent = Counts()
        self.arrived_s = float("-inf")
        """When the last frame came, watched or not (`time.monotonic`)."""
        self.period_s = float("inf")
        """Between frames, while somebody looks."""
        self._shown_s = float("-inf")
        self._workers = workers
        self._loop = asyncio.get_running_loop()
        self._offered: Frame | None = None
        self._focus = Focus()
        self._measuring: asyncio.Task[None] | None = None
        self._measured_s = float("-inf")

    def offer(self, frame: Frame) -> None:
        """Take a frame; from any thread. Costs nothing while nobody looks."""
        self.arrived_s = time.monotonic()
        if not self.watched:
            return
        waiting, self._offered = self._offered is not None, frame
        if not waiting:
            with contextlib.suppress(RuntimeError):  # the loop has just ended, and with it whoever looked
                self._loop.call_soon_threadsafe(self._arrive)

    def _arrive(self) -> None:
        frame, self._offered = self._offered, None
        if frame is None or not self.seats:
            return
        self._keep_time()
        self.newest = Pair(frame, self._workers)
        for seat in self.seats:
            seat.wake.set()
        self._measure(frame)

    def _keep_time(self) -> None:
        before, self._shown_s = self._shown_s, time.monotonic()
        span = self._shown_s - before
        self.period_s = span if self.period_s == float("inf") else 0.9 * self.period_s + 0.1 * span

    def next_in_s(self) -> float:
        """When the next frame is expected; below 0 if it should have come."""
        return self._shown_s + self.period_s - time.monotonic()

    def _measure(self, frame: Frame) -> None:
        """Tell those who listen what the pixels say, a few times a second."""
        idle = self._measuring is None or self._measuring.done()
        due = idle and time.monotonic() - self._measured_s >= _VITALS_EVERY_S
        if due and frame.raw is not None and any(seat.listens for seat in self.seats):
            self._measured_s = time.monotonic()
            self._measuring = asyncio.create_task(self._tell_vitals(frame))

    async def _tell_vitals(self, frame: Frame) -> None:
        assert frame.raw is not None
        vitals = await self._loop.run_in_executor(
            self._workers, measure, frame.raw, frame.image, self._focus, time.monotonic()
        )
        self.tell("vitals", msgspec.json.encode({"op": "vitals", "seq": frame.seq, **msgspec.structs.asdict(vitals)}))

    def tell(self, kind: str, text: bytes) -> None:
        """Say something to all who listen."""
        for seat in self.seats:
            if seat.listens:
                seat.say(kind, text)

    def sit(self, look: Look, *, listens: bool = False) -> Seat:
        """A place for a new viewer."""
        seat = Seat(self, look, listens=listens)
        self.seats.add(seat)
        self.watched = True
        return seat

    def leave(self, seat: Seat) -> None:
        """Somebody went; the last one leaves nothing behind."""
        self.seats.discard(seat)
        if not self.seats:
            self.watched, self.newest = False, None
            self.period_s, self._shown_s = float("inf"), float("-inf")
