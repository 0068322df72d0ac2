"""A running stream with a live page, and those who look at it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

pytest.importorskip("aiohttp", reason="aiohttp is not installed")
import aiohttp

import stainstream as ss
from stainstream import model as models
from stainstream.live import Live, StreamSettings
from stainstream.sinks.base import Sink
from stainstream.viewer import View
from stainstream.viewer.messages import FrameHeader, unpack

from .chromium import FLAGS

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PATIENCE_S = 30.0
T = TypeVar("T")


class Streaming:
    """A stream that runs in the background."""

    def __init__(self, live: Live, view: View) -> None:
        self.live, self.view = live, view

    @property
    def url(self) -> str:
        """Where the page is, with the token if there is one."""
        return self.view.url

    @property
    def base(self) -> str:
        """The same without a token, and without a slash at its end."""
        return self.view.url.partition("/?")[0].rstrip("/")


@contextmanager
def streaming(
    source: str = "demo?size=320x240&rate=30", view: str = "", *sinks: Sink, alone: bool = True
) -> Iterator[Streaming]:
    """Stream the demo to a page, and to other sinks; `alone`, without the recording that waits to be started."""
    live = Live(StreamSettings(source=source, sinks=(address := f"view?open=0&port=0{view}",)))
    page = live.sinks[address]
    assert isinstance(page, View)
    if alone:
        live.sinks = {address: page}
    live.sinks |= {sink.target: sink for sink in sinks}
    with live:
        thread = threading.Thread(target=live.run)
        thread.start()
        try:
            until(lambda: page.url and live.report().captured)
            yield Streaming(live, page)
        finally:
            live.stop()
            thread.join(10)
            assert not thread.is_alive()


def until(condition: Callable[[], Any], what: str = "", seconds: float = PATIENCE_S) -> None:
    """Wait for something that happens on another thread."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what or "it did not happen"
        time.sleep(0.01)


def demo(size: str, number: int) -> ss.RGB8:
    """The demo's frame of a number, before normalization."""
    with ss.open_source(f"demo?size={size}&rate=0&frames={number + 1}") as source:
        *_, frame = source
    return frame.image


class Client:
    """A viewer that is no browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.told: dict[str, dict[str, Any]] = {}
        """The last text of each kind."""

    async def ask(self, op: str, **fields: Any) -> None:
        await self.socket.send_str(json.dumps({"op": op, **fields}))

    async def frame(self, credit: int = 1) -> tuple[FrameHeader, bytes, bytes]:
        """Ask for the next frame, if `credit` says so, and wait for it."""
        if credit:
            await self.ask("ready", credit=credit)
        while True:
            message = await self.socket.receive(PATIENCE_S)
            if message.type is aiohttp.WSMsgType.BINARY:
                return unpack(message.data)
            self._hear(message)

    async def hear(self, op: str) -> dict[str, Any]:
        """Wait for a text of a kind; frames are passed over."""
        self.told.pop(op, None)
        while op not in self.told:
            message = await self.socket.receive(PATIENCE_S)
            if message.type is not aiohttp.WSMsgType.BINARY:
                self._hear(message)
        return self.told[op]

    def _hear(self, message: aiohttp.WSMessage) -> None:
        assert message.type is aiohttp.WSMsgType.TEXT, message
        text = json.loads(message.data)
        self.told[text["op"]] = text


@asynccontextmanager
async def viewer(page: Streaming, **headers: str) -> AsyncIterator[Client]:
    """Look at a stream."""
    url = page.url.replace("/?", "/stream?") if "/?" in page.url else f"{page.url}stream"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=0, headers=headers) as socket:
        yield Client(socket)


async def get(url: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers."""
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers, allow_redirects=False) as answer:
        return answer.status, await answer.read(), dict(answer.headers)


@pytest.fixture
def two_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A shelf with a second model on it; its name."""
    shelf = tmp_path / "shelf"
    default = models.find("default")
    for name in (default.name, "another"):
        shutil.copytree(default.path, shelf / name)
    card = shelf / "another" / "card.toml"
    text = card.read_text(encoding="utf-8").replace(f'name = "{default.name}"', 'name = "another"')
    card.write_text(text.replace("default = true", "default = false"), encoding="utf-8")
    monkeypatch.setattr(models, "shelf", lambda: shelf)
    return "another"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real browser without a window."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("Chromium is not installed; on Debian run: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=FLAGS, env=dict(os.environ))
        try:
            yield launched
        finally:
            launched.close()


def run(job: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, on a thread of its own: Playwright keeps a loop on this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, job).result()
