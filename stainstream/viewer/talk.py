"""A viewer at the other end of a WebSocket: what it is sent, and what it asks for."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from importlib.metadata import version

import msgspec
from aiohttp import ClientConnectionResetError, WSCloseCode, WSMsgType, web

from stainstream.control import Control
from stainstream.errors import StainstreamError, UsageError, WireError

from .hub import Hub, Seat
from .messages import LARGEST, Look, Ping, Probe, Ready, Record, Request, Switch, request

__all__ = ["Talks"]

_HEARTBEAT_S = 15.0
_STATUS_EVERY_S = 0.5


class Talks:
    """All WebSockets that are open; lives on the server's event loop.

    Parameters
    ----------
    sit
        Gives a viewer a seat, or refuses.
    quality
        JPEG quality of the overview.
    """

    def __init__(self, hub: Hub, control: Control | None, sit: Callable[..., Seat], quality: int) -> None:
        self._hub, self._control, self._sit, self._quality = hub, control, sit, quality
        self._open: set[web.WebSocketResponse] = set()
        self._steering = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Tell viewers that the stream has ended."""
        closing = [each.close(code=WSCloseCode.GOING_AWAY, message=b"the stream has ended") for each in self._open]
        await asyncio.gather(*closing, return_exceptions=True)

    async def report(self) -> None:
        """Say how the stream is doing, as long as the server runs."""
        while True:
            if any(seat.listens for seat in self._hub.seats):
                self._hub.tell("status", await asyncio.to_thread(self._status))
            await asyncio.sleep(_STATUS_EVERY_S)

    def _status(self) -> bytes:
        status = self._control.status() if self._control else None
        return msgspec.json.encode({"op": "status", "viewers": len(self._hub.seats), "stream": status})

    async def serve(self, asked: web.Request) -> web.StreamResponse:
        """Talk to one viewer until it goes."""
        answer = web.WebSocketResponse(max_msg_size=LARGEST, compress=False, heartbeat=_HEARTBEAT_S, timeout=1.0)
        if not answer.can_prepare(asked):
            raise web.HTTPUpgradeRequired(text="this is a WebSocket\n", headers={"Upgrade": "websocket"})
        seat = self._sit(Look(quality=self._quality), listens=True)
        try:
            await answer.prepare(asked)
            self._open.add(answer)
            seat.say("hello", self._hello(seat))
            writing = asyncio.create_task(self._write(answer, seat))
            try:
                await self._read(answer, seat)
            finally:
                writing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await writing
        finally:
            self._open.discard(answer)
            self._hub.leave(seat)
        return answer

    def _hello(self, seat: Seat) -> bytes:
        models = list(self._control.models()) if self._control else []
        known = {"seat": seat.id, "version": version("stainstream"), "models": models, "quality": self._quality}
        return msgspec.json.encode({"op": "hello", "steered": self._control is not None, **known})

    async def _write(self, answer: web.WebSocketResponse, seat: Seat) -> None:
        """Send what is due until the viewer goes."""
        with contextlib.suppress(ClientConnectionResetError):
            while True:
                await seat.wake.wait()
                seat.wake.clear()
                for text in seat.texts():
                    await answer.send_str(text.decode())
                if (pair := seat.due()) is not None:
                    message = await pair.message(seat.look)
                    await answer.send_bytes(message)
                    self._hub.sent.add(message)

    async def _read(self, answer: web.WebSocketResponse, seat: Seat) -> None:
        """Do what the viewer asks for until it goes."""
        async for message in answer:
            if message.type is WSMsgType.TEXT:
                try:
                    await self._obey(request(message.data), answer, seat)
                except WireError as error:
                    await answer.close(code=WSCloseCode.POLICY_VIOLATION, message=str(error).encode()[:120])
            else:
                await answer.close(code=WSCloseCode.UNSUPPORTED_DATA, message=b"send text")

    async def _obey(self, asked: Request, answer: web.WebSocketResponse, seat: Seat) -> None:
        match asked:
            case Ready():
                seat.grant(asked.credit)
            case Look():
                seat.look_at(asked)
            case Ping():
                now = {"op": "pong", "sent": asked.sent, "clock_ns": time.monotonic_ns()}
                await answer.send_str(msgspec.json.encode(now).decode())
            case Probe():
                self._tell_colors(asked, seat)
            case Switch() | Record():
                task = asyncio.create_task(self._steer(asked, seat))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    @staticmethod
    def _tell_colors(asked: Probe, seat: Seat) -> None:
        pair = seat.held(asked.frame)
        if pair is not None and (colors := pair.colors(asked.x, asked.y)) is not None:
            told = {"op": "colors", "frame": asked.frame, "x": asked.x, "y": asked.y}
            seat.say("colors", msgspec.json.encode({**told, "raw": colors[0], "normalized": colors[1]}))

    async def _steer(self, asked: Switch | Record, seat: Seat) -> None:
        """Switch or record, one after the other; the viewer is told if it fails, all of them how things are then."""
        try:
            if self._control is None:
                raise UsageError("cannot steer the stream", "this viewer was given no control of it")
            if self._steering.locked():
                raise UsageError("cannot do that yet", "the stream is still busy with what was asked before")
            async with self._steering:
                await asyncio.to_thread(_steer, self._control, asked)
        except StainstreamError as error:
            seat.say("problem", msgspec.json.encode({"op": "problem", "text": str(error)}))
        self._hub.tell("status", await asyncio.to_thread(self._status))


def _steer(control: Control, asked: Switch | Record) -> None:
    match asked:
        case Switch():
            known = control.models()  # and no path: what else this computer holds is not a viewer's business
            if asked.model not in known:
                raise UsageError(f"unknown model {asked.model!r}", f"known are {', '.join(known)}")
            control.switch(asked.model)
        case Record():
            control.record(on=asked.on)
