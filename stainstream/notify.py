"""Telling a service manager that all is well: systemd's, or our own supervisor, which speaks the same protocol.

Source: sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping

__all__ = ["PARENT", "Notifier"]

PARENT = "STAINSTREAM_SUPERVISOR"
"""Environment variable: the process without which this one has nothing to do."""


class Notifier:
    """Speaks to ``$NOTIFY_SOCKET``, if there is one; a manager that does not listen does no harm.

    Attributes
    ----------
    watched
        Whether anybody listens.
    watchdog_s
        Seconds of silence after which the manager takes the process for dead; 0 if it never does.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watched = bool(address) and hasattr(socket, "AF_UNIX")
        self.watchdog_s = _watchdog_s(environment) if self.watched else 0.0
        self._parent = environment.get(PARENT, "")

    @property
    def orphaned(self) -> bool:
        """Whether the supervisor that started this process is gone."""
        return self._parent.isdigit() and os.getppid() != int(self._parent)

    def ready(self) -> None:
        """It has started."""
        self._say("READY=1")

    def alive(self, status: str) -> None:
        """It works; `status` is for people."""
        self._say(f"WATCHDOG=1\nSTATUS={' '.join(status.split())}")

    def stopping(self) -> None:
        """It is about to end."""
        self._say("STOPPING=1")

    def _say(self, message: str) -> None:
        if not self.watched:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaking:
            speaking.setblocking(False)
            speaking.sendto(message.encode(), self._address)


def _watchdog_s(environment: Mapping[str, str]) -> float:
    microseconds, process = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not microseconds.isdigit() or process not in ("", str(os.getpid())):
        return 0.0
    return int(microseconds) / 1e6
