"""Frames over the WebSocket and as Motion JPEG: real sockets, a real stream."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("aiohttp", reason="aiohttp is not installed")
import aiohttp

import stainstream as ss
from stainstream.config import Settings
from stainstream.model import find, names
from stainstream.opencv import quiet
from stainstream.sinks.base import Sink
from stainstream.viewer.hub import Hub, Seat
from stainstream.viewer.messages import LARGEST, Look
from stainstream.viewer.pair import Pair

from .conftest import Streaming, demo, get, run, streaming, until, viewer
from .test_pair import alike, decoded


class Desk(Sink):
    """Notes whether frames carry their raw pixels, and whether it shall record."""

    def __init__(self) -> None:
        super().__init__("desk", Settings())
        self.recording, self.fails = False, False
        self.raw: list[bool] = []

    def record(self, *, on: bool) -> None:
        if self.fails:
            raise ss.StainstreamError("cannot record", "the disk is full", "free some")
        self.recording = on

    def write(self, frame: ss.Frame) -> None:
        self.raw.append(frame.raw is not None)


def test_both_halves_are_of_the_same_frame_and_are_what_the_engine_gave() -> None:
    async def look(page: Streaming) -> None:
        async with viewer(page) as client:
            await client.ask("look", quality=100)
            numbers = []
            for _ in range(5):
                header, before, after = await client.frame()
                raw = demo("320x240", header.seq)
                assert (header.width, header.height, header.model["name"]) == (320, 240, find("default").name)
                assert alike(decoded(before), raw)
                assert alike(decoded(after), normalize(raw))
                numbers.append(header.seq)
            assert numbers == sorted(set(numbers))

    with streaming() as page, ss.load("default", "lut_numpy") as normalize:
        run(look(page))


def test_a_viewer_is_sent_the_part_it_looks_at() -> None:
    async def look(page: Streaming) -> None:
        async with viewer(page) as client:
            await client.ask("look", raw=None, normalized=[160, 80, 100, 60], scale=2, quality=100)
            header, before, after = await client.frame()
            assert (header.raw, header.normalized, before) == (None, (160, 80, 100, 60), b"")
            small = cv2.resize(
                normalize(demo("320x240", header.seq))[80:140, 160:260], (50, 30), interpolation=cv2.INTER_AREA
            )
            assert alike(decoded(after), small.astype(np.uint8))

    with streaming() as page, ss.load("default", "lut_numpy") as normalize:
        run(look(page))


def test_without_credit_nothing_is_sent_and_with_it_the_newest() -> None:
    async def look(page: Streaming) -> None:
        async with viewer(page) as client:
            first, *_ = await client.frame()
            await asyncio.sleep(0.5)
            before = page.live.report().captured
            second, *_ = await client.frame()
            assert second.seq >= before - 5  # not the one that came after the first
            assert second.seq > first.seq + 5
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.frame(credit=0), 0.3)

    with streaming() as page:
        run(look(page))


def test_who_asks_just_before_the_next_frame_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("stainstream.viewer.hub.time", SimpleNamespace(monotonic=lambda: now[0]))

    def due_after(seconds: float, seat: Seat) -> bool:
        now[0] += seconds
        seat.grant(1)
        return seat.due() is not None

    async def look() -> None:
        with ThreadPoolExecutor(1) as workers:
            hub = Hub(workers)
            seat = hub.sit(Look(raw=None))
            image = np.zeros((8, 8, 3), np.uint8)
            for seq in range(30):
                now[0] += 0.1
                hub.offer(ss.Frame(image, ss.PixelFormat.RGB8, seq))
                await asyncio.sleep(0)
            assert hub.period_s == pytest.approx(0.1)
            assert due_after(0.05, seat)  # the newest, though it is half a period old
            hub.newest = Pair(ss.Frame(image, ss.PixelFormat.RGB8, 30), workers)
            assert not due_after(0.03, seat)
            assert not due_after(0.05, seat)  # a little late
            assert due_after(0.03, seat)  # it did not come: better an old one than none

    run(look())


def test_raw_pixels_are_kept_only_while_somebody_looks() -> None:
    desk = Desk()

    async def look(page: Streaming) -> None:
        async with viewer(page) as client:
            await client.frame()
            until(lambda: desk.raw[-1])

    with streaming("demo?size=320x240&rate=30", "", desk) as page:
        until(lambda: len(desk.raw) > 5)
        assert not any(desk.raw)
        run(look(page))
        until(lambda: not desk.raw[-1])
        assert not page.view.wants_raw


def text_frame(text: str) -> bytes:
    """A short text as a WebSocket client sends it (RFC 6455, 5.2), masked with zeros."""
    return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text.encode()


def test_a_viewer_that_never_reads_holds_up_nobody() -> None:
    async def look(page: Streaming, stuck: socket.socket) -> None:
        async with viewer(page) as client:
            for _ in range(60):
                stuck.sendall(text_frame('{"op": "ready", "credit": 2}'))
                await client.frame()

    with streaming("demo?size=640x480&rate=60") as page, socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect(("127.0.0.1", int(page.base.rpartition(":")[2])))
        key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        head = "GET /stream HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        stuck.sendall(f"{head}{key}\r\n".encode() + text_frame('{"op": "look", "quality": 100}'))
        run(look(page, stuck))
        assert page.view._server is not None
        seats = page.view._server.hub.seats
        until(lambda: len(seats) == 1)  # it is still there, with no more than it may have on its way
        assert all(len(seat._held) <= 3 for seat in seats)
        report = page.live.report()
        (account,) = report.sinks.values()
        assert sum(account.dropped.values()) < report.captured / 4  # those that a busy machine has no time for


def test_ten_viewers_come_and_go_and_nothing_stays() -> None:
    async def look(page: Streaming) -> None:
        for _ in range(5):
            async with asyncio.TaskGroup() as group:
                for _ in range(10):
                    group.create_task(one(page))

    async def one(page: Streaming) -> None:
        async with viewer(page) as client:
            for _ in range(3):
                await client.frame()

    with streaming() as page:
        assert page.view._server is not None
        hub = page.view._server.hub
        run(look(page))
        until(lambda: not hub.seats)
        assert (hub.watched, hub.newest) == (False, None)
        gc.collect()
        assert not any(type(each) is Pair for each in gc.get_objects())  # isinstance asks objects, some of which mind


def test_too_many_viewers_are_told_so() -> None:
    async def look(page: Streaming) -> None:
        async with viewer(page) as client:
            await client.frame()
            with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
                async with viewer(page):
                    pass
            assert refusal.value.status == 503
            assert (await get(f"{page.base}/stream.mjpg"))[0] == 503

    with streaming(view="&viewers=1") as page:
        run(look(page))


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("x" * (LARGEST + 1), aiohttp.WSCloseCode.MESSAGE_TOO_BIG),
        ("{}", aiohttp.WSCloseCode.POLICY_VIOLATION),
        (b"\0\1", aiohttp.WSCloseCode.UNSUPPORTED_DATA),
    ],
)
def test_what_is_no_message_ends_the_connection_and_nothing_else(sent: str | bytes, code: int) -> None:
    async def look(page: Streaming) -> None:
        async with viewer(page) as other:
            async with viewer(page) as client:
                await (client.socket.send_str(sent) if isinstance(sent, str) else client.socket.send_bytes(sent))
                while (await client.socket.receive(10)).type is not aiohttp.WSMsgType.CLOSE:
                    pass
                assert client.socket.close_code == code
            await other.frame()

    with streaming() as page:
        run(look(page))


def test_a_frame_that_was_sent_can_be_looked_at_again_and_its_colors_asked() -> None:
    async def look(page: Streaming) -> None:
        async with viewer(page) as client:
            header, *_ = await client.frame()
            await asyncio.sleep(0.3)
            await client.ask("look", raw=None, normalized=[0, 0, 64, 64], quality=100, again=header.seq)
            again, _, after = await client.frame(credit=0)
            raw = demo("320x240", header.seq)
            assert again.seq == header.seq
            assert alike(decoded(after), normalize(raw[:64, :64].copy()))
            await client.ask("probe", frame=header.seq, x=30, y=20)
            colors = await client.hear("colors")
            assert colors["raw"] == raw[20, 30].tolist()
            assert colors["normalized"] == normalize(raw)[20, 30].tolist()
            await client.ask("probe", frame=header.seq, x=320, y=20)  # outside, and so no answer
            await client.frame()

    with streaming() as page, ss.load("default", "lut_numpy") as normalize:
        run(look(page))


def test_the_clock_and_the_state_of_the_stream_are_told() -> None:
    async def look(page: Streaming) -> None:
        async with viewer(page) as client:
            hello = await client.hear("hello")
            assert hello["models"] == names()
            await client.ask("ping", sent=12.5)
            pong = await client.hear("pong")
            assert pong["sent"] == 12.5
            assert abs(pong["clock_ns"] - time.monotonic_ns()) < 5e9
            status = await client.hear("status")
            stream, report = status["stream"], status["stream"]["report"]
            assert (stream["source"], stream["model"], len(stream["digest"])) == ("demo", find("default").name, 64)
            (account,) = report["sinks"].values()
            assert report["captured"] == account["delivered"] + account["under_way"] > 0
            await client.ask("ready")
            vitals = await client.hear("vitals")
            assert np.array(vitals["raw"]).shape == np.array(vitals["normalized"]).shape == (3, 64)
            assert 0 < vitals["focus"] <= 1

    with streaming() as page:
        run(look(page))


def test_the_model_is_switched_while_the_stream_runs(two_models: str) -> None:
    async def look(page: Streaming, elsewhere: Path) -> None:
        async with viewer(page) as client:
            assert (await client.hear("hello"))["models"] == names()
            await client.ask("switch", model=two_models)
            while (await client.frame())[0].model["name"] != two_models:
                pass
            assert (await client.hear("status"))["stream"]["model"] == two_models
            await client.ask("switch", model=str(elsewhere))
            problem = await client.hear("problem")
            assert problem["text"].startswith(f"unknown model '{elsewhere}': known are {', '.join(names())}")

    with streaming() as page:
        run(look(page, Path("/etc")))
        assert page.live.report().rejected == {}


def test_recording_is_started_and_stopped() -> None:
    desk = Desk()

    async def look(page: Streaming) -> None:
        async with viewer(page) as client:
            for on in (True, False):
                await client.ask("record", on=on)
                while (await client.hear("status"))["stream"]["recording"] is not on:
                    pass
                assert desk.recording is on
            desk.fails = True
            await client.ask("record", on=True)
            assert (await client.hear("problem"))["text"] == "cannot record: the disk is full; free some"

    with streaming("demo?size=320x240", "", desk) as page:
        run(look(page))


def test_a_viewer_can_record_though_nobody_said_where_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def look(page: Streaming) -> None:
        async with viewer(page) as client:
            for on in (True, False):
                await client.ask("record", on=on)
                while (await client.hear("status"))["stream"]["recording"] is not on:
                    pass
                await asyncio.sleep(0.5)

    with streaming(alone=False) as page:
        run(look(page))
    (file,) = (each for each in tmp_path.iterdir() if each.suffix in (".mp4", ".tiff"))
    assert file.stat().st_size > 1000


def test_the_end_of_the_stream_is_told() -> None:
    async def look(page: Streaming) -> None:
        async with viewer(page) as client:
            await client.frame()
            page.live.stop()
            while (message := await client.socket.receive(10)).type is not aiohttp.WSMsgType.CLOSE:
                pass
            assert (message.data, message.extra) == (aiohttp.WSCloseCode.GOING_AWAY, "the stream has ended")

    with streaming() as page:
        run(look(page))


@pytest.mark.parametrize("side", ["raw", "normalized"])
def test_opencv_plays_the_motion_jpeg(side: str) -> None:
    quiet()
    with streaming() as page:
        video = cv2.VideoCapture(f"{page.base}/stream.mjpg?side={side}&scale=2", cv2.CAP_FFMPEG)
        images = [video.read()[1] for _ in range(3)]
        video.release()
    with ss.load("default", "lut_numpy") as normalize:
        wanted = demo("320x240", 10)
        wanted = wanted if side == "raw" else normalize(wanted)
    for image in images:
        assert image is not None
        assert image.shape == (120, 160, 3)
        assert np.abs(image[..., ::-1].mean(axis=(0, 1)) - wanted.mean(axis=(0, 1))).max() < 12


def test_motion_jpeg_numbers_its_frames() -> None:
    async def look(page: Streaming) -> None:
        async with aiohttp.ClientSession() as session, session.get(f"{page.base}/stream.mjpg?quality=100") as answer:
            reader = aiohttp.MultipartReader.from_response(answer)
            for _ in range(3):
                part = await reader.next()
                assert isinstance(part, aiohttp.BodyPartReader)
                raw = demo("320x240", int(part.headers["X-Frame"]))
                assert alike(decoded(await part.read()), normalize(raw))

    with streaming() as page, ss.load("default", "lut_numpy") as normalize:
        run(look(page))


@pytest.mark.parametrize(
    ("query", "said"),
    [("side=left", "side 'left'"), ("quality=0", "quality"), ("scale=x", "scale"), ("path=/etc", "path")],
)
def test_wrong_options_are_named(query: str, said: str) -> None:
    with streaming() as page:
        status, body, _ = run(get(f"{page.base}/stream.mjpg?{query}"))
    assert status == 400
    assert said in body.decode()
