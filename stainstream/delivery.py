"""Whether what was sent has been read.

When one end of a Unix socket is closed, libzmq at the other end gives up at once what it has not read yet, if its own
queue is full at that moment (4.3.5; over TCP it reads on to the end). The last frames for a slow consumer would be
lost, so whoever closes waits until they were read.
"""

from __future__ import annotations

import struct
import sys
import time
import uuid

import zmq
from zmq.utils.monitor import recv_monitor_message

__all__ = ["monitor_of", "unwatch", "wait_until_read", "watch"]

_BEGIN = zmq.EVENT_CONNECTED | zmq.EVENT_ACCEPTED
_PAUSE_S = 0.002
_MONITORS: dict[zmq.Socket[bytes], zmq.Socket[bytes]] = {}
_SURE = 3  # looks in a row at which nothing is on its way: ZeroMQ's own thread hands over what waits within one


def watch(opened: zmq.Socket[bytes], events: int = _BEGIN | zmq.EVENT_DISCONNECTED) -> None:
    """Note what happens to a socket's connections from now on, before it is bound or connected.

    Not by `zmq.Socket.get_monitor_socket`: that one takes 2,000 events. ZeroMQ's own thread waits, and with it all that
    is sent and received, if a consumer has come back more often while nobody read them.
    """
    address = f"inproc://events-{uuid.uuid4().hex}"
    opened.monitor(address, events)
    monitor = opened.context.socket(zmq.PAIR)
    monitor.rcvhwm = 0
    monitor.connect(address)
    _MONITORS[opened] = monitor


def monitor_of(opened: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
    """Where a watched socket's events are read."""
    return _MONITORS[opened]


def wait_until_read(opened: zmq.Socket[bytes], seconds: float) -> bool:
    """Wait for at most `seconds` until everything sent over a watched socket was read; whether it was.

    It is not watched any more then.
    """
    end, quiet = time.monotonic() + seconds, 0
    connections: set[int] = set()
    while quiet < _SURE and time.monotonic() < end:
        time.sleep(_PAUSE_S)
        _note(monitor_of(opened), connections)
        quiet = 0 if any(map(_unread, connections)) else quiet + 1
    unwatch(opened)
    return quiet == _SURE


def unwatch(opened: zmq.Socket[bytes]) -> None:
    """Watch a watched socket no more, before it is closed: its context would wait for the monitor forever."""
    opened.disable_monitor()  # first: ZeroMQ's own thread would wait forever to tell of something that nobody reads
    if (monitor := _MONITORS.pop(opened, None)) is not None:
        monitor.close(linger=0)


def _note(monitor: zmq.Socket[bytes], connections: set[int]) -> None:
    while monitor.poll(0):
        event = recv_monitor_message(monitor, zmq.DONTWAIT)
        (connections.add if event["event"] & _BEGIN else connections.discard)(event["value"])


def _unread(connection: int) -> int:
    """Bytes that were written to a connection, but not read at its other end (over TCP: by its system)."""
    if sys.platform != "linux":
        return 0
    import fcntl
    import termios

    try:
        (count,) = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))
    except OSError:
        return 0  # it is closed
    return int(count)
