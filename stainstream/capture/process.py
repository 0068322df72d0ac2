"""The capture process, as its owner holds it."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import IO, Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from stainstream.errors import SourceError

from .memory import Shared
from .messages import Attached, Failure, Found, Opened, Order, Picture, Said, Trouble, decode, encode
from .ring import Taker, size_of

__all__ = ["Ended", "Event", "Process", "attached"]

_log = logging.getLogger(__name__)

_WAITING = 4  # pictures that wait to be taken; then the oldest is dropped

if sys.platform == "win32":
    _APART = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
else:
    _APART = 0


class Ended(msgspec.Struct, frozen=True):
    """The process is no more."""

    status: int
    """Its exit code; negative for the signal that killed it, see `subprocess.Popen.returncode`."""


Event: TypeAlias = Opened | Picture | Failure | Trouble | Found | Ended


class Process:
    """A capture process and what it says; it starts at once, and goes to work after `begin`.

    It ends with its owner, also when that is killed: its stdin is closed then. Signals of the terminal do not reach it.
    """

    def __init__(self) -> None:
        self._shared = Shared()
        self._taker: Taker | None = None
        self._events: deque[Event] = deque()
        self._changed = threading.Condition()
        self._ending = threading.Lock()
        self.heard = time.monotonic()
        """When it said something for the last time, see `time.monotonic`."""
        self.pictured: float | None = None
        """When it had a picture for the last time; None if never."""
        self._popen = _started(self._shared)
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._orders: IO[bytes] = self._popen.stdin
        self._listener = threading.Thread(target=self._listen, args=(self._popen.stdout,), name="camera", daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._popen.pid

    def begin(self, driver: str, target: str, options: Mapping[str, Any], hint: str = "") -> None:
        """Tell it what to do; see `Order`."""
        self.heard = time.monotonic()
        order = Order(driver, target, dict(options), hint, self._shared.token)
        with contextlib.suppress(BrokenPipeError):  # it is dead already, as the next event says
            self._orders.write(encode(order))
            self._orders.flush()

    def next(self, timeout: float) -> Event | None:
        """What it said next; None if that is nothing within `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._events, timeout)
            return self._events.popleft() if self._events else None

    def image(self, picture: Picture, dtype: np.dtype[Any]) -> NDArray[Any]:
        """The picture's pixels, without a copy; see `Taker.lend`."""
        return self._ring(picture).lend(picture.slot, picture.shape, dtype)

    def drop(self, picture: Picture) -> None:
        """Give a picture back that nobody looked at."""
        self._ring(picture).free(picture.slot)

    def end(self, grace: float) -> None:
        """Ask it to close the camera; kill it if that takes more than `grace` seconds. Safe twice, from any thread."""
        with self._ending:
            with contextlib.suppress(BrokenPipeError):
                self._orders.close()
            try:
                self._popen.wait(grace)
            except subprocess.TimeoutExpired:
                self._kill()
            self._listener.join(1.0)
            self._shared.close()

    def _kill(self) -> None:
        self._popen.kill()
        try:
            self._popen.wait(1.0)
        except subprocess.TimeoutExpired:
            _log.error("capture process %d cannot be killed: it hangs inside the system", self._popen.pid)

    def _ring(self, picture: Picture) -> Taker:
        """The ring, which the listening thread maps with the first picture."""
        if self._taker is None:
            self._taker = Taker(self._shared.map(size_of(picture.slot_bytes)), picture.slot_bytes)
        return self._taker

    def _listen(self, pipe: IO[bytes]) -> None:
        with pipe:
            for line in pipe:
                if line.endswith(b"\n"):  # a process that is killed may leave half a line
                    self._note(decode(line))
        self._note(Ended(self._popen.wait()))

    def _note(self, event: Event | Said) -> None:
        if isinstance(event, Said):
            _log.log(event.level, "%s", event.text)
            return
        with self._changed:
            self.heard = time.monotonic()
            if isinstance(event, Picture):
                self.pictured = self.heard
                self._ring(event)
                self._make_room()
            self._events.append(event)
            self._changed.notify()

    def _make_room(self) -> None:
        """Drop the oldest of too many pictures that wait; the next one says that it is missing."""
        waiting = [place for place, event in enumerate(self._events) if isinstance(event, Picture)]
        if len(waiting) < _WAITING:
            return
        oldest, heir = self._events[waiting[0]], self._events[waiting[1]]
        assert isinstance(oldest, Picture)
        assert isinstance(heir, Picture)
        self._events[waiting[1]] = msgspec.structs.replace(heir, lost=heir.lost + oldest.lost + 1)
        del self._events[waiting[0]]
        self._ring(oldest).free(oldest.slot)


def _started(shared: Shared) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "stainstream.capture"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
            pass_fds=shared.files,
            start_new_session=sys.platform != "win32",
            creationflags=_APART,
        )
    except OSError as error:
        shared.close()
        raise SourceError("cannot start a capture process", error.strerror or str(error)) from error


def attached(drivers: Mapping[str, str], patience: float = 4.0) -> dict[str, list[Attached] | str]:
    """What cameras of several families are attached, each asked in a process of its own, all at once.

    Parameters
    ----------
    drivers
        ``"package.module:Class"`` by the family's name.
    patience
        Seconds to wait for all of them together.

    Returns
    -------
    By the family's name: its cameras, or why they are not known.
    """
    processes = {name: Process() for name in drivers}
    deadline = time.monotonic() + patience
    for name, process in processes.items():
        process.begin(drivers[name], "", {})
    found = {name: _answer(process, deadline) for name, process in processes.items()}
    for process in processes.values():
        process.end(0.0)
    return found


def _answer(process: Process, deadline: float) -> list[Attached] | str:
    match process.next(max(0.0, deadline - time.monotonic())):
        case Found(cameras):
            return cameras
        case Trouble() as trouble:
            return str(SourceError(trouble.asked, trouble.reason, trouble.cure))
        case None:
            return "its driver did not answer in time"
        case other:
            return f"its driver crashed ({other})"
