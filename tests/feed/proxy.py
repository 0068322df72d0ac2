"""A network between two programs of this computer that can be made to misbehave."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from dataclasses import dataclass, field

_PIECE = 64 << 10
_TURN_S = 0.1  # how long a thread waits before it asks whether all is over


@dataclass
class Proxy:
    """Passes connections on to a port, with the toxics of Shopify's toxiproxy; they may change at any time."""

    port: int
    latency_s: float = 0.0
    slicer: int = _PIECE
    """Bytes that pass at once."""
    pause_s: float = 0.0
    """Between two of them."""
    timeout: bool = False
    """Whether everything is swallowed, while connections stay as they are (half-open)."""
    closing: threading.Event = field(default_factory=threading.Event)
    _resets: list[threading.Event] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Proxy:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.1)
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.reset_peer()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def reset_peer(self) -> None:
        """Break all connections off, without a word of farewell."""
        resets, self._resets = self._resets, []
        for each in resets:
            each.set()

    def _start(self, job: object, *arguments: object) -> None:
        assert callable(job)
        thread = threading.Thread(target=job, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.closing.is_set():
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self.port), 5)
            except OSError:
                continue
            reset = threading.Event()
            self._resets.append(reset)
            self._start(self._connect, near, far, reset)

    def _connect(self, near: socket.socket, far: socket.socket, reset: threading.Event) -> None:
        """Pass on both ways until one side ends; sockets are closed when nobody waits for them any more.

        Closed earlier, their numbers would go to new connections, whose bytes would then end in the old ones.
        """
        over = threading.Event()
        with near, far:
            ways = [
                threading.Thread(target=self._pass, args=(one, other, reset, over))
                for one, other in ((near, far), (far, near))
            ]
            for way in ways:
                way.start()
            for way in ways:
                way.join()
            if reset.is_set():
                for each in (near, far):
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _pass(self, one: socket.socket, other: socket.socket, reset: threading.Event, over: threading.Event) -> None:
        one.settimeout(_TURN_S)
        while not (self.closing.is_set() or reset.is_set() or over.is_set()):
            try:
                piece = one.recv(self.slicer)
                if not piece:
                    break
                if not self.timeout:
                    time.sleep(self.latency_s + self.pause_s)
                    self._send(other, piece, reset)
            except TimeoutError:
                continue
            except OSError:
                break
        over.set()

    def _send(self, other: socket.socket, piece: bytes, reset: threading.Event) -> None:
        """All of it, however slowly the other side reads."""
        rest = memoryview(piece)
        while rest and not (self.closing.is_set() or reset.is_set()):
            _, ready, _ = select.select([], [other], [], _TURN_S)
            if ready:
                rest = rest[other.send(rest) :]
