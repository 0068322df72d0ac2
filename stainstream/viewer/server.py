"""A web server on a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import threading
from concurrent.futures import Future, ThreadPoolExecutor

from aiohttp import web

from stainstream.control import Control
from stainstream.errors import SinkError

from .app import App
from .guard import Guard
from .hub import Hub

__all__ = ["Server", "own_addresses"]

_ENCODERS = 2  # one for each half of a frame
_STOP_S = 3.0
_CURES = {
    errno.EADDRINUSE: (
        "the port is in use",
        "stop the program that uses it, or take another: --view-port 0 is any free one",
    ),
    errno.EADDRNOTAVAIL: ("this computer has no such address", "give one of its own, or 0.0.0.0 for all"),
    errno.EACCES: ("only an administrator may use this port", "take one above 1023"),
}


class Server:
    """Serves the page and the frames that it is offered, from `start` to `stop`.

    Parameters
    ----------
    token
        What viewers must know; None for none.
    viewers
        How many may look at the same time.
    quality
        JPEG quality of the overview, 1 to 100.
    """

    def __init__(
        self, host: str, port: int, *, token: str | None, control: Control | None, viewers: int, quality: int
    ) -> None:
        self._host, self._asked_port = host, port
        self._token, self._control, self._viewers, self._quality = token, control, viewers, quality
        self._thread = threading.Thread(target=self._run, name="viewer", daemon=True)
        self._started: Future[tuple[Hub, asyncio.AbstractEventLoop, asyncio.Event, int]] = Future()

    def start(self) -> None:
        """Listen.

        Raises
        ------
        SinkError
            If the address cannot be had.
        """
        self._thread.start()
        try:
            self.hub, self._loop, self._end, self.port = self._started.result()
        except OSError as error:
            self._thread.join()
            reason, cure = _CURES.get(error.errno or 0, (error.strerror or str(error), ""))
            raise SinkError(f"cannot serve the viewer at {self._host}:{self._asked_port}", reason, cure) from error

    def stop(self) -> None:
        """Send viewers away and end; from any thread."""
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(_STOP_S)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as error:
            self._started.set_exception(error)

    async def _serve(self) -> None:
        with ThreadPoolExecutor(_ENCODERS, "viewer encoder") as workers:
            hub, end = Hub(workers), asyncio.Event()
            app = App(hub, Guard(self._token), self._control, workers, viewers=self._viewers, quality=self._quality)
            runner = web.AppRunner(app.web, access_log=None, shutdown_timeout=0.2)
            await runner.setup()
            try:
                await web.TCPSite(runner, self._host, self._asked_port).start()
                loop = asyncio.get_running_loop()
                self._started.set_result((hub, loop, end, runner.addresses[0][1]))
                reporting = asyncio.create_task(app.talks.report())
                await end.wait()
                reporting.cancel()
                await app.talks.close()
            finally:
                await runner.cleanup()


def own_addresses(host: str) -> list[str]:
    """Addresses that others reach this computer by, where it listens at `host`."""
    ways = {"0.0.0.0": [(socket.AF_INET, "192.0.2.1")], "::": [(socket.AF_INET6, "2001:db8::1")]}
    found = []
    for family, somewhere in ways.get(host, []):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((somewhere, 9))  # sends nothing: it only asks which way a packet would take
            found.append(probe.getsockname()[0])
    return found or [host]
