"""The live page as a sink."""

from __future__ import annotations

import logging
import os
import secrets
from typing import Annotated

import msgspec

from stainstream.config import Settings
from stainstream.control import Control
from stainstream.errors import SinkError
from stainstream.frame import Frame
from stainstream.sinks.base import Sink

from .desktop import has_desktop, show
from .guard import is_loopback
from .server import Server, own_addresses

__all__ = ["TOKEN", "View"]

TOKEN = "STAINSTREAM_VIEW_TOKEN"
"""Environment variable with the token that viewers from elsewhere must know, in place of a random one."""

_log = logging.getLogger(__name__)


class View(Sink):
    """Shows frames and their raw pixels in browsers; nothing is done for a frame that nobody looks at.

    On loopback, the page is open to whoever uses this computer. On any other address it asks for a token: that of the
    environment variable ``STAINSTREAM_VIEW_TOKEN``, or a random one, which is part of the page's address (`url`) where
    that is logged as text.
    """

    class Options(Settings, frozen=True, kw_only=True):
        """What can be set."""

        host: str = "127.0.0.1"
        """The address to listen at; ``0.0.0.0`` for all."""
        port: Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)] = 8560
        """0 for any free one."""
        open: bool = True
        """Whether to open the page in the desktop's browser, if there is a desktop."""
        viewers: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 16
        """How many may look at the same time."""
        quality: Annotated[int, msgspec.Meta(ge=1, le=100)] = 85
        """JPEG quality where a screen shows more than its own pixels of a frame; magnified parts get 95."""

    options: Options

    def __init__(self, target: str, options: Options) -> None:
        super().__init__(target, options)
        self._control: Control | None = None
        self._server: Server | None = None
        self.url = ""
        """Where the page is, while the sink is open, with the token if there is one."""

    def attach(self, control: Control) -> None:
        """Take the stream's control."""
        self._control = control

    @property
    def wants_raw(self) -> bool:
        """While somebody looks."""
        return self._server is not None and self._server.hub.watched

    def _open(self) -> None:
        options = self.options
        given = os.environ.get(TOKEN, "")
        token = None if is_loopback(options.host) else given or secrets.token_urlsafe(16)
        server = Server(
            options.host,
            options.port,
            token=token,
            control=self._control,
            viewers=options.viewers,
            quality=options.quality,
        )
        server.start()
        self._server = server
        query = f"/?token={token}" if token else "/"
        hosts = own_addresses(options.host)
        urls = [f"http://{f'[{host}]' if ':' in host else host}:{server.port}" for host in hosts]
        self.url = urls[0] + query
        note = f"; the token is that of {TOKEN}" if token and given else ""
        for url in urls:  # the token is for people: a log of JSON objects leaves it out
            _log.info("viewer at %s%s", url, note, extra={"secret": "" if given else query})
        if options.open and not token and has_desktop():
            show(self.url)

    def _close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    def write(self, frame: Frame) -> None:
        """Show one frame to whoever is ready for it."""
        if self._server is None:
            raise SinkError(f"cannot show frame {frame.seq}", "the viewer is not open")
        self._server.hub.offer(frame)
