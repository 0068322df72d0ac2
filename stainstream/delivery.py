"""Whether what was sent over a Unix socket has been read.

When one end of a Unix socket is closed, libzmq at the other end gives up at once what it has not read yet if its own queue
is full at that moment (4.3.5; over TCP it reads on to the end). The last frames for a slow consumer would be lost, so
whoever closes waits until they were read.
"""

from __future__ import annotations

import struct
import sys
import time

import zmq
from zmq.utils.monitor import recv_monitor_message

__all__ = ["Delivery"]

_BEGIN = zmq.EVENT_CONNECTED | zmq.EVENT_ACCEPTED
_PAUSE_S = 0.002
_SURE = 3  # looks in a row at which nothing is on its way: ZeroMQ's own thread hands over what waits within one


class Delivery:
    """Watches the connections of one ``ipc`` socket.

    Parameters
    ----------
    opened
        The socket, before it is bound or connected.
    """

    def __init__(self, opened: zmq.Socket[bytes]) -> None:
        self._monitor = opened.get_monitor_socket(_BEGIN | zmq.EVENT_DISCONNECTED)
        self._connections: set[int] = set()

    def wait(self, seconds: float) -> bool:
        """Wait for at most `seconds` until the other ends have read everything; whether they have."""
        end, quiet = time.monotonic() + seconds, 0
        while quiet < _SURE:
            if time.monotonic() > end:
                return False
            time.sleep(_PAUSE_S)
            self._look()
            quiet = 0 if any(_unread(connection) for connection in self._connections) else quiet + 1
        return True

    def _look(self) -> None:
        while self._monitor.poll(0):
            event = recv_monitor_message(self._monitor, zmq.DONTWAIT)
            change = self._connections.add if event["event"] & _BEGIN else self._connections.discard
            change(event["value"])


def _unread(connection: int) -> int:
    """Bytes that were written to a connection, but not read at its other end."""
    if sys.platform != "linux":
        return 0
    import fcntl
    import termios

    try:
        (count,) = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))
    except OSError:
        return 0  # it is closed
    return int(count)
