"""Several processes, each started again when it fails."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from stainstream.notify import PARENT

__all__ = ["Patience", "Supervisor"]

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for what, in seconds."""

    first: float = 0.5
    """Before the first new start; twice as long before each further one."""
    longest: float = 30.0
    """Before any new start."""
    steady: float = 30.0
    """A process that ran so long is forgiven its earlier failures."""
    silent: float = 20.0
    """A process that is silent for so long, once it was ready, hangs, and is killed."""
    stop: float = 10.0
    """A process that was asked to end is killed after so long."""


class Supervisor:
    """Runs commands until they end well, or until `stop`; what fails is started again, and none touches another.

    Parameters
    ----------
    commands
        By name. They are told of each other nothing, and speak to the supervisor as to systemd, see `Notifier`.
    """

    def __init__(self, commands: Mapping[str, Sequence[str]], patience: Patience = Patience()) -> None:
        self._commands, self._patience = dict(commands), patience
        self._stopped = threading.Event()
        self._wards: dict[str, _Ward] = {}

    @property
    def states(self) -> dict[str, str]:
        """What each process is doing, by name."""
        return {name: ward.state for name, ward in self._wards.items()}

    def stop(self) -> None:
        """End all of them in good order; from any thread."""
        self._stopped.set()

    def run(self, tick: Callable[[], None] = lambda: None) -> None:
        """Look after the processes until all have ended.

        Parameters
        ----------
        tick
            Called ten times a second.
        """
        with tempfile.TemporaryDirectory(prefix="stainstream-") as folder, ExitStack() as stack:
            self._wards = {
                name: _Ward(command, self._patience, name, Path(folder) / str(index))
                for index, (name, command) in enumerate(self._commands.items())
            }
            for ward in self._wards.values():
                stack.callback(ward.close)
            while any([ward.look(self._stopped.is_set()) for ward in self._wards.values()]):  # noqa: C419 - look at all
                tick()
                if self._stopped.wait(_LOOK_EVERY_S):
                    time.sleep(_LOOK_EVERY_S)


class _Ward:
    """One of the processes."""

    def __init__(self, command: Sequence[str], patience: Patience, name: str, ear: Path) -> None:
        self.name, self.state = name, ""
        self._command, self._patience = list(command), patience
        self._process: subprocess.Popen[bytes] | None = None
        self._failures = 0
        self._started = self._heard = 0.0
        self._due: float | None = time.monotonic()
        self._ready, self._killed = False, ""
        self._asked: float | None = None
        self._socket: socket.socket | None = None
        self._environment = os.environ | {PARENT: str(os.getpid())}
        for unwanted in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
            self._environment.pop(unwanted, None)
        if hasattr(socket, "AF_UNIX"):
            self._listen(ear)

    def _listen(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self._environment["NOTIFY_SOCKET"] = str(path)
        self._environment["WATCHDOG_USEC"] = str(round(self._patience.silent * 1e6))

    def look(self, stopping: bool) -> bool:
        """See how it does, and do what is to be done; whether there is still something to wait for."""
        if self._process is None:
            if self._due is None or stopping:
                return False
            if time.monotonic() >= self._due:
                self._start()
            return True
        self._listen_to()
        code = self._process.poll()
        if code is not None:
            self._process = None
            self._ended(code, stopping)
            return self._due is not None and not stopping
        if stopping:
            self._end()
        elif self._ready and time.monotonic() - self._heard > self._patience.silent:
            self._kill("it was silent")
        return True

    def close(self) -> None:
        """Leave nothing behind."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._socket is not None:
            self._socket.close()

    def _start(self) -> None:
        self._ready, self._killed, self._asked = False, "", None
        self._started = time.monotonic()
        try:
            self._process = subprocess.Popen(self._command, env=self._environment)
        except OSError as error:
            self._again(f"cannot be started: {error}")
        else:
            self._say(f"starting (process {self._process.pid})")

    def _listen_to(self) -> None:
        """Take in what it says of itself."""
        with contextlib.suppress(BlockingIOError):
            while self._socket is not None:
                said = self._socket.recv(4096).splitlines()
                self._heard = time.monotonic()
                if b"READY=1" in said and not self._ready:
                    self._ready = True
                    self._say("running")

    def _ended(self, code: int, stopping: bool) -> None:
        how = _how(code) + (f", since {self._killed}" if self._killed else "")
        if code == 0 or stopping:
            self._due = None
            self._say("stopped" if stopping else "ended", how)
        else:
            self._again(how)

    def _again(self, how: str) -> None:
        if time.monotonic() - self._started > self._patience.steady:
            self._failures = 0
        pause = min(self._patience.first * 2.0**self._failures, self._patience.longest)
        self._failures = min(self._failures + 1, 60)
        self._due = time.monotonic() + pause
        self._say(f"starting again in {pause:g} s", how, logging.WARNING)

    def _end(self) -> None:
        assert self._process is not None
        if self._asked is None:
            self._asked = time.monotonic()
            self._process.terminate()
        elif time.monotonic() - self._asked > self._patience.stop:
            self._kill("it did not end when asked to")

    def _kill(self, why: str) -> None:
        assert self._process is not None
        if not self._killed:
            self._killed = why
            self._process.kill()

    def _say(self, state: str, how: str = "", level: int = logging.INFO) -> None:
        self.state = state
        _log.log(level, "stream %s: %s%s", self.name, state, f" ({how})" if how else "")


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
