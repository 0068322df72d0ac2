"""ZeroMQ sockets at addresses."""

from __future__ import annotations

import errno
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import zmq

from .delivery import unwatch, wait_until_read, watch
from .errors import SinkError, SourceError, UsageError
from .security import Curve

if TYPE_CHECKING:
    from zmq.auth.thread import ThreadAuthenticator

__all__ = ["Socket", "attach", "detach", "in_message"]

_log = logging.getLogger(__name__)

Socket: TypeAlias = zmq.Socket[bytes]


class _Shared:
    """One ZeroMQ context, and so one thread of its own, for all sockets there are; it ends with the last of them.

    A relay whose two sockets each have a thread of their own moves a seventh fewer frames. Over inproc, sockets meet
    within one context only.
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Have none: at first, and in a process that was forked, which has none of its parent's threads."""
        self._lock = threading.Lock()
        self._context: zmq.Context[Socket] | None = None
        self._sockets = 0
        self._authenticator: ThreadAuthenticator | None = None

    def admit(self, domain: str, curve: Curve) -> None:
        """Let those in, at the sockets of a domain, whom `curve` trusts."""
        from zmq.auth.thread import ThreadAuthenticator

        with self._lock:
            if self._authenticator is None:
                self._authenticator = ThreadAuthenticator(self._context, log=_SILENT)
                self._authenticator.start()
            self._authenticator.configure_curve_callback(domain, credentials_provider=curve)

    def socket(self, kind: int) -> Socket:
        with self._lock:
            if self._context is None:
                self._context = zmq.Context()
            opened = self._context.socket(kind)
            self._sockets += 1
            return opened

    def close(self, opened: Socket, linger_s: float) -> None:
        """Close a socket; with the last one, wait for what all of them still have to send, and let go of addresses."""
        opened.close(linger=round(linger_s * 1000))
        with self._lock:
            self._sockets -= 1
            if not self._sockets and self._context is not None:
                if self._authenticator is not None:
                    self._authenticator.stop()
                    self._authenticator = None
                self._context.term()
                self._context = None


_SHARED = _Shared()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_SHARED.begin)
_SILENT = logging.getLogger("zmq.auth")
_SILENT.setLevel(logging.CRITICAL)  # what is to be said about refused keys, `Curve.callback` says
_LOOPBACK = re.compile(r"tcp://(localhost|127\.[\d.]+|\[::1\]):.*")
_TCP = re.compile(r"tcp://(?P<host>\[[^\]]+\]|[^:]+):(?P<port>\*|\d+)")
_COMMON: dict[int, int | bytes] = {
    # Notice within seconds that the other computer is gone, cable and all. ZeroMQ's own heartbeats would be as quick,
    # but their answers wait behind the frames of a consumer that is merely slow: it is taken for dead, and frames under
    # way are lost (libzmq 4.3.5).
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 5,
    zmq.TCP_KEEPALIVE_INTVL: 1,
    zmq.TCP_KEEPALIVE_CNT: 3,
    zmq.CONNECT_TIMEOUT: 3000,
    zmq.RECONNECT_IVL: 100,
    zmq.RECONNECT_IVL_MAX: 5000,
    zmq.LINGER: 0,
}
_TRIES, _RETRY_S = 10, 0.02
_INSTEAD = "for the newest frame only, use delivery=live"
_IN_USE = ("the address is in use", "stop the program that uses it, or take another; port 0 is any free one")
_NOT_OURS = ("this computer has no such address", "give one of its own, or * for all, or set bind=0 to connect")
_WHY = {
    errno.EADDRINUSE: _IN_USE,
    errno.ENODEV: _NOT_OURS,
    errno.EADDRNOTAVAIL: _NOT_OURS,
    errno.EPROTONOSUPPORT: ("this system does not support it", "use zmq+tcp://"),
}


def attach(
    kind: int,
    target: str,
    bind: bool,
    options: Mapping[int, int | bytes],
    failure: type[SourceError | SinkError],
    *,
    events: int = 0,
    curve: Curve | None = None,
) -> Socket:
    """Open a socket and bind or connect it; where it is then, `Socket.last_endpoint` says.

    Parameters
    ----------
    kind
        ``zmq.SUB``, ``zmq.PUSH`` ...
    target
        ``zmq+tcp://host:port``, ``zmq+ipc://path`` or ``zmq+inproc://name``; port 0 or ``*`` binds to any free one.
    options
        ZeroMQ's socket options, beyond reconnection and keep-alive.
    failure
        What to raise if it cannot be done.
    events
        What `delivery.monitor_of` shall tell of, from the beginning; to be unwatched before it is detached.
    curve
        Keys, to encrypt and to know who connects.

    Raises
    ------
    UsageError
        For options that ZeroMQ would end the process for, and keys that cannot be used.
    """
    address = re.sub(r"^zmq\+", "", target, flags=re.IGNORECASE)
    asked = f"cannot {'bind to' if bind else 'connect to'} {address}"
    if zmq.CONFLATE in options:
        raise UsageError(asked, "ZMQ_CONFLATE takes messages of several parts apart, or ends the process", _INSTEAD)
    if (obstacle := _obstacle(address, bind)) is not None:
        raise failure(asked, *obstacle)
    opened = _made(kind, asked, failure)
    try:
        if kind == zmq.PUSH:
            watch(opened)
        elif events:
            watch(opened, events)
        for option, value in {**_COMMON, **options}.items():
            opened.set(option, value)
        opened.ipv6 = "[" in address
        if curve is not None:
            curve.apply(opened, bind, _SHARED)
        if bind:
            _bind(opened, address)
        else:
            opened.connect(address)
    except (zmq.ZMQError, UsageError) as error:
        if events:
            unwatch(opened)
        detach(opened)
        if isinstance(error, UsageError):
            raise
        number = error.errno or 0
        raise failure(asked, *_WHY.get(number, (zmq.strerror(number),))) from error
    if bind and curve is None and address.startswith("tcp:") and not _LOOPBACK.fullmatch(address):
        _log.warning("%s is open to the network: not encrypted, and for anybody; see docs/feeds.md, Keys", address)
    return opened


def detach(opened: Socket, linger_s: float = 0.0) -> None:
    """Close a socket, after waiting for at most `linger_s` seconds until its last messages have left, or were read."""
    if opened.type == zmq.PUSH:
        wait_until_read(opened, linger_s)
    _SHARED.close(opened, linger_s)


def _made(kind: int, asked: str, failure: type[SourceError | SinkError]) -> Socket:
    try:
        return _SHARED.socket(kind)
    except zmq.ZMQError as error:
        raise failure(asked, zmq.strerror(error.errno or 0)) from error  # too many files are open


def in_message(part: bytes | bytearray | memoryview) -> bytes | bytearray | memoryview | zmq.Frame:
    """The received message that a part lies in, if it is all of it: to send that saves a thread's waking up for each.

    The part may have been written to; it must not be any more once it is sent.
    """
    array = part.obj if isinstance(part, memoryview) else None
    while (base := getattr(array, "base", None)) is not None:
        array = base
    frame = getattr(array, "obj", None)
    if isinstance(frame, zmq.Frame) and isinstance(part, memoryview) and len(frame.buffer) == part.nbytes:
        return frame
    return part


def _bind(opened: Socket, address: str) -> None:
    """Bind, also where this process closed a socket a moment ago: ZeroMQ lets go of addresses in its own time."""
    for left in reversed(range(_TRIES)):
        try:
            opened.bind(address)
        except zmq.ZMQError as error:
            if error.errno != errno.EADDRINUSE or not left:
                raise
            time.sleep(_RETRY_S)
        else:
            return


def _obstacle(address: str, bind: bool) -> tuple[str, str] | None:
    """Reason and cure of what ZeroMQ itself would let pass, and then wait forever or do harm."""
    if address.startswith("tcp:"):
        match = _TCP.fullmatch(address)
        if match is None or (match["port"] != "*" and int(match["port"]) > 0xFFFF):
            return "it is no such address", "write tcp://host:port, with a port from 1 to 65535"
        return None if bind else _unreachable(match["host"], match["port"])
    if address.startswith("ipc:") and bind and _is_listening(address.removeprefix("ipc://")):
        return _IN_USE
    return None


def _unreachable(host: str, port: str) -> tuple[str, str] | None:
    if host == "*" or port in ("*", "0"):
        return "it names no one host and port", "give both, or set bind=1 to be connected to"
    try:
        socket.getaddrinfo(host.strip("[]"), port, socket.AF_INET6 if host.startswith("[") else socket.AF_INET)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no host's name"
        return f"host {host!r} is not known ({reason})", "check the name, or give the IP address"
    return None


def _is_listening(path: str) -> bool:
    """Whether somebody listens at a path; ZeroMQ would take it away from him without a word."""
    if not hasattr(socket, "AF_UNIX"):
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
    return True
