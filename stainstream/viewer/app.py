"""What the server answers: the page, frames, snapshots, metrics."""

from __future__ import annotations

import asyncio
import contextlib
import mimetypes
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from importlib import resources
from typing import cast, get_args

import msgspec
from aiohttp import ClientConnectionResetError, hdrs, web
from aiohttp.typedefs import Middleware

from stainstream.control import Control
from stainstream.errors import StainstreamError

from .guard import HEADERS, Guard
from .health import Metrics, obstacle
from .hub import Hub, Seat
from .messages import LARGEST, WHOLE, Look
from .pair import Pair, Side, fitted
from .snapshot import archive, file_name
from .talk import Talks

__all__ = ["App"]

_PATIENCE_S = 10.0  # how long a client may take to read what was sent
_FRAME_S = 2.0  # how long to wait for a frame to take a snapshot of
_BOUNDARY = "frame"
_MJPEG_SNDBUF = 256 << 10  # what the system keeps for a client that gives no credit is old when it arrives

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class App:
    """The web application; lives on the server's event loop.

    Parameters
    ----------
    viewers
        How many may look at the same time.
    quality
        JPEG quality of the overview.
    """

    def __init__(
        self, hub: Hub, guard: Guard, control: Control | None, workers: Executor, *, viewers: int, quality: int
    ) -> None:
        self._hub, self._guard, self._control, self._workers = hub, guard, control, workers
        self._viewers, self._quality = viewers, quality
        self._metrics = Metrics(hub, control)
        self.talks = Talks(hub, control, self._sit, quality)
        self.web = web.Application(middlewares=[cast(Middleware, self._guarded)], client_max_size=LARGEST)
        page = {"/": "index.html", **{f"/{name}": name for name in _page_files()}}
        self.web.add_routes([web.get(path, _file(name)) for path, name in page.items()])
        self.web.add_routes(
            [
                web.get("/stream", self.talks.serve),
                web.get("/stream.mjpg", self._mjpeg),
                web.get("/snapshot.zip", self._snapshot),
                web.get("/metrics", self._prometheus),
                web.get("/healthz", self._healthy),
                web.get("/readyz", self._ready),
            ]
        )

    @web.middleware
    async def _guarded(self, asked: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = self._guard.refusal(asked) or self._admitted(asked) or await handler(asked)
        except web.HTTPException as error:
            response = error
        if not response.prepared:
            response.headers.update(HEADERS)
        if isinstance(response, web.HTTPException):
            raise response
        return response

    def _admitted(self, asked: web.Request) -> web.StreamResponse | None:
        """Move the token from the page's address, which people copy and browsers remember, into a cookie."""
        if self._guard.token is None or asked.path != "/" or "token" not in asked.query:
            return None
        response = web.Response(status=303, headers={hdrs.LOCATION: "/"})
        response.set_cookie(self._guard.cookie(asked), self._guard.token, httponly=True, samesite="Lax")
        return response

    def _sit(self, look: Look, *, listens: bool = False) -> Seat:
        if len(self._hub.seats) >= self._viewers:
            raise web.HTTPServiceUnavailable(text=f"{self._viewers} viewers look already, which is the limit\n")
        return self._hub.sit(look, listens=listens)

    async def _mjpeg(self, asked: web.Request) -> web.StreamResponse:
        """One side as Motion JPEG, for clients that can do only that."""
        side, look = _plain_look(asked, self._quality)
        seat = self._sit(look)
        try:
            response = web.StreamResponse(
                headers={**HEADERS, hdrs.CONTENT_TYPE: f"multipart/x-mixed-replace; boundary={_BOUNDARY}"}
            )
            _shorten_queue(asked)
            await response.prepare(asked)
            with contextlib.suppress(ClientConnectionResetError, TimeoutError):
                while True:
                    part = await self._part(await _next(seat, _PATIENCE_S), side, look)
                    await asyncio.wait_for(response.write(part), _PATIENCE_S)
                    self._hub.sent.add(part)
        finally:
            self._hub.leave(seat)
        return response

    @staticmethod
    async def _part(pair: Pair, side: Side, look: Look) -> bytes:
        frame = pair.frame
        crop = fitted(WHOLE, frame.width, frame.height)
        jpeg = await pair.jpeg(side, crop, look.scale, look.quality)
        head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n"
        head += f"X-Frame: {frame.seq}\r\nX-Captured-Ns: {frame.captured_ns}\r\n\r\n"
        return head.encode() + jpeg + b"\r\n"

    async def _snapshot(self, asked: web.Request) -> web.StreamResponse:
        """A frame that a viewer was just shown, or else the next one."""
        if "seat" in asked.query:
            pair = self._shown(asked.query["seat"], asked.query.get("frame", ""))
        else:
            pair = await self._fresh()
        status = await asyncio.to_thread(self._control.status) if self._control else None
        try:
            data = await asyncio.get_running_loop().run_in_executor(self._workers, archive, pair.frame, status)
        except StainstreamError as error:
            raise web.HTTPInternalServerError(text=f"{error}\n") from error
        name = f'attachment; filename="{file_name(pair.frame)}.zip"'
        return web.Response(body=data, content_type="application/zip", headers={hdrs.CONTENT_DISPOSITION: name})

    def _shown(self, seat_id: str, number: str) -> Pair:
        seat = next((each for each in self._hub.seats if each.id == seat_id), None)
        pair = seat.held(int(number)) if seat and number.isdecimal() else None
        if pair is None or pair.frame.raw is None:
            raise web.HTTPNotFound(text="this frame is gone; freeze the picture first, then take the snapshot\n")
        return pair

    async def _fresh(self) -> Pair:
        seat = self._sit(Look())
        try:
            return await _next(seat, _FRAME_S)
        except TimeoutError as error:
            raise web.HTTPServiceUnavailable(text="no frame came to take a snapshot of\n") from error
        finally:
            self._hub.leave(seat)

    async def _prometheus(self, _asked: web.Request) -> web.StreamResponse:
        text = await asyncio.to_thread(self._metrics.text)
        return web.Response(body=text, headers={hdrs.CONTENT_TYPE: "text/plain; version=0.0.4; charset=utf-8"})

    async def _healthy(self, _asked: web.Request) -> web.StreamResponse:
        return web.Response(text="ok\n")

    async def _ready(self, _asked: web.Request) -> web.StreamResponse:
        why = obstacle(self._hub)
        return web.Response(text=f"{why or 'ready'}\n", status=503 if why else 200)


def _page_files() -> list[str]:
    return [each.name for each in resources.files("stainstream.viewer").joinpath("page").iterdir() if each.is_file()]


def _file(name: str) -> Handler:
    """Answers with a file of the page, read once: no path from outside ever reaches the disk."""
    data = resources.files("stainstream.viewer").joinpath("page", name).read_bytes()
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    kind = "text/javascript" if name.endswith(".js") else kind  # Windows may call it something else

    async def answer(_asked: web.Request) -> web.StreamResponse:
        return web.Response(body=data, content_type=kind, charset="utf-8")

    return answer


async def _next(seat: Seat, within_s: float) -> Pair:
    """The next frame for somebody who is ready for it.

    Raises
    ------
    TimeoutError
        If none comes in time.
    """
    seat.grant(1)
    async with asyncio.timeout(within_s):
        while (pair := seat.due()) is None:
            await seat.wake.wait()
            seat.wake.clear()
    return pair


def _plain_look(asked: web.Request, quality: int) -> tuple[Side, Look]:
    """Side and settings from a query.

    Raises
    ------
    web.HTTPBadRequest
        Naming what is wrong.
    """
    query = {"side": "normalized", "scale": "1", "quality": str(quality)} | {
        key: value for key, value in asked.query.items() if key != "token"
    }
    side = query.pop("side")
    try:
        look = msgspec.convert(query, Look, strict=False)
    except msgspec.ValidationError as error:
        raise web.HTTPBadRequest(text=f"{error}; known are side, scale, quality\n") from error
    if side not in get_args(Side):
        raise web.HTTPBadRequest(text=f"side {side!r} is none of {', '.join(get_args(Side))}\n")
    if side == "raw":
        return "raw", msgspec.structs.replace(look, normalized=None)
    return "normalized", msgspec.structs.replace(look, raw=None)


def _shorten_queue(asked: web.Request) -> None:
    opened = asked.transport.get_extra_info("socket") if asked.transport else None
    if opened is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MJPEG_SNDBUF)
