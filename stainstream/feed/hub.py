"""One thread that serves all feeds of a process: sockets of ZeroMQ are used by one thread each."""

from __future__ import annotations

import logging
import math
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import zmq

from stainstream.endpoint import Socket

__all__ = ["HUB", "Hub", "Served"]

_log = logging.getLogger(__name__)
_BEAT_S = 0.1
_COMPLAIN_EVERY_S = 1.0


class Served(Protocol):
    """What the hub serves; all of it on the hub's thread."""

    def sockets(self) -> Sequence[Socket]:
        """What to listen to; asked for anew after `Hub.rewire`."""

    def serve(self, opened: Socket) -> None:
        """Read what has arrived at a socket, without waiting."""

    def beat(self, now: float) -> None:
        """Called ten times a second; `now` is `time.monotonic`."""

    def flush(self) -> None:
        """Called after each turn: send what is to be sent."""

    def recover(self) -> None:
        """One of the others has failed: begin anew, since what it had in hand then may be lost."""


class Hub:
    """Waits for all sockets at once; its thread lives as long as there is something to serve.

    An error of one feed's own code is logged, makes it begin anew, and leaves the others alone.
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Serve nothing: at first, and in a process that was forked, which has none of its parent's threads."""
        self._lock = threading.Lock()
        self._served: list[Served] = []
        self._homes: dict[object, tuple[Served, Socket]] = {}
        self._calls: deque[Callable[[], None]] = deque()
        self._thread: threading.Thread | None = None
        self._bell, self._button = socket.socketpair()
        self._bell.setblocking(False)
        self._button.setblocking(False)
        self._rung = False
        self._poller = zmq.Poller()
        self._rewired = True
        self._complained_s = float("-inf")

    def join(self, served: Served) -> None:
        """Serve it from now on."""
        with self._lock:
            self._served.append(served)
            self._rewired = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="feeds", daemon=True)
                self._thread.start()
        self.wake()

    def leave(self, served: Served) -> None:
        """Serve it no more; when this returns its sockets are in nobody's use."""
        done = threading.Event()

        def part() -> None:
            with self._lock:
                if served in self._served:
                    self._served.remove(served)
                    self._rewired = True
            done.set()

        with self._lock:
            thread = self._thread
        if thread is None or threading.current_thread() is thread:
            part()
            return
        self.post(part)
        while not done.wait(0.1):
            if not thread.is_alive():
                part()
        with self._lock:
            idle = not self._served
        if idle:
            thread.join(_BEAT_S)  # or an interpreter that ends now would stop it wherever it is

    def post(self, call: Callable[[], None]) -> None:
        """Have something done on the hub's thread; from any thread."""
        self._calls.append(call)
        self.wake()

    def wake(self) -> None:
        """Have `flush` called soon; from any thread."""
        if not self._rung:
            self._rung = True
            try:
                self._button.send(b"!")
            except BlockingIOError:
                return  # it is rung as loud as can be

    def rewire(self) -> None:
        """Ask for `Served.sockets` again; on the hub's thread."""
        self._rewired = True

    def _run(self) -> None:
        due = time.monotonic()
        while True:
            with self._lock:
                if not self._served and not self._calls:
                    self._thread = None
                    return
                if self._rewired:
                    self._rewired = False
                    self._wire()
            ready = self._poller.poll(max(0, math.ceil((due - time.monotonic()) * 1e3)))
            self._answer(ready)
            if (now := time.monotonic()) >= due:
                due = now + _BEAT_S
                for served in list(self._served):
                    self._guard(served, lambda served=served: served.beat(now))  # type: ignore[misc]
            for served in list(self._served):
                self._guard(served, served.flush)

    def _wire(self) -> None:
        self._poller = zmq.Poller()
        self._poller.register(self._bell, zmq.POLLIN)
        self._homes = {}
        for served in self._served:
            for opened in served.sockets():
                self._poller.register(opened, zmq.POLLIN)
                self._homes[opened] = served, opened

    def _answer(self, ready: Sequence[tuple[object, int]]) -> None:
        for opened, _ in ready:
            home = self._homes.get(opened)
            if home is not None:
                self._guard(home[0], lambda home=home: home[0].serve(home[1]))  # type: ignore[misc]
                continue
            try:
                self._bell.recv(4096)
            except BlockingIOError:
                continue
            finally:
                self._rung = False  # before the work is looked for, or what comes now would be overlooked
        while self._calls:
            self._guard(None, self._calls.popleft())

    def _guard(self, served: Served | None, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception:  # noqa: BLE001 - whatever it is, the others go on
            if (now := time.monotonic()) - self._complained_s >= _COMPLAIN_EVERY_S:
                self._complained_s = now
                _log.exception("a feed failed, and begins anew: %s", served)
            if served is not None and served in self._served:
                self._guard(None, served.recover)


HUB = Hub()
"""The process's own."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=HUB.begin)
