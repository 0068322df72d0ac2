"""Snapshots, as they come out of the server."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from datetime import UTC, datetime, timedelta

import cv2
import numpy as np
import pytest

pytest.importorskip("aiohttp", reason="aiohttp is not installed")
import stainstream as ss

from .conftest import Streaming, demo, get, run, streaming, viewer
from .test_pair import decoded


def check(data: bytes, size: str) -> int:
    """Compare a snapshot of the demo with what it must be; its frame's number."""
    with zipfile.ZipFile(io.BytesIO(data)) as packed, ss.load("default", "lut_numpy") as normalize:
        files = {name.rpartition("_")[2].rpartition(".")[0] or name: packed.read(name) for name in packed.namelist()}
        (note,) = (json.loads(packed.read(name)) for name in packed.namelist() if name.endswith(".json"))
        raw, normalized = decoded(files["raw"]), decoded(files["normalized"])
        assert len(packed.namelist()) == 3
        wanted = demo(size, note["frame"])
        assert np.array_equal(raw, wanted)
        assert np.array_equal(normalized, normalize(wanted))
        assert note["model"]["sha256"] == normalize.model.digest if normalize.model else ""
    assert note["sha256_of_pixels"]["normalized"] == hashlib.sha256(normalized.tobytes()).hexdigest()
    assert note["sha256_of_pixels"]["raw"] == hashlib.sha256(raw.tobytes()).hexdigest()
    assert note["source"] == "demo"
    assert {"x", "y"} <= note["meta"].keys()
    assert abs(datetime.fromisoformat(note["captured_utc"]) - datetime.now(UTC)) < timedelta(minutes=1)
    return int(note["frame"])


def test_a_snapshot_is_of_the_frame_that_is_shown() -> None:
    async def look(page: Streaming) -> None:
        async with viewer(page) as client:
            seat = (await client.hear("hello"))["seat"]
            header, *_ = await client.frame()
            for _ in range(2):
                await client.frame()  # as many may be on their way
            status, data, headers = await get(f"{page.base}/snapshot.zip?seat={seat}&frame={header.seq}")
            assert status == 200
            assert check(data, "320x240") == header.seq
            assert f"_{header.seq:09d}.zip" in headers["Content-Disposition"]
            await client.frame()
            for query in (f"seat={seat}&frame={header.seq}", f"seat={seat}&frame=x", "seat=another&frame=1"):
                status, data, _ = await get(f"{page.base}/snapshot.zip?{query}")
                assert (status, b"is gone" in data) == (404, True)

    with streaming() as page:
        run(look(page))


def test_a_snapshot_without_a_viewer_is_of_the_next_frame() -> None:
    with streaming() as page:
        before = page.live.report().captured
        status, data, _ = run(get(f"{page.base}/snapshot.zip"))
        assert status == 200
        assert check(data, "320x240") >= before - 1
        assert not page.view.wants_raw


def test_what_came_with_a_frame_stands_in_its_note() -> None:
    from stainstream.viewer.snapshot import archive

    image = np.zeros((4, 6, 3), np.uint8)
    meta = {"stage": {"x": 1.5}, "slide": "S", "when": datetime(2026, 1, 2, tzinfo=UTC)}
    data = archive(ss.Frame(image, ss.PixelFormat.RGB8, 9, 1, meta, image), None)
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        note = json.loads(packed.read(packed.namelist()[-1]))
        png = cv2.imdecode(np.frombuffer(packed.read(packed.namelist()[0]), np.uint8), cv2.IMREAD_UNCHANGED)
    assert png is not None
    assert png.shape == (4, 6, 3)
    assert (note["meta"]["stage"], note["meta"]["slide"], note["width"], note["height"]) == ({"x": 1.5}, "S", 6, 4)
