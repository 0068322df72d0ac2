"""Frames, encoded for viewers."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("simplejpeg", reason="simplejpeg is not installed")
import stainstream as ss
from stainstream.viewer import pair as module
from stainstream.viewer.messages import WHOLE, Look, unpack
from stainstream.viewer.pair import Pair, encode, fitted, shrunk

from .conftest import demo, run


def decoded(data: bytes) -> ss.RGB8:
    """By OpenCV, as RGB."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.ascontiguousarray(image[..., ::-1])


def alike(one: ss.RGB8, other: ss.RGB8) -> bool:
    """Whether two images are the same but for what JPEG loses at quality 100: its color space has whole numbers."""
    off = np.abs(one.astype(int) - other)
    return one.shape == other.shape and bool(off.max() <= 5 and off.mean() < 0.8)


@given(st.tuples(*[st.integers(0, 1 << 24)] * 4), st.integers(1, 5000), st.integers(1, 5000))
def test_a_crop_lies_in_the_frame(crop: tuple[int, int, int, int], width: int, height: int) -> None:
    x, y, across, down = fitted(crop, width, height)
    assert 0 <= x < x + across <= width
    assert 0 <= y < y + down <= height


def test_full_quality_is_within_the_error_of_jpeg() -> None:
    image = demo("320x240", 3)
    assert alike(decoded(encode(image, (0, 0, 320, 240), 1.0, 100)), image)
    part = image[31:131, 17:217]
    assert alike(decoded(encode(image, (17, 31, 200, 100), 1.0, 100)), part)


@pytest.mark.parametrize("scale", [1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 7.0, 16.0])
def test_smaller_frames_are_like_the_mean_over_areas(scale: float) -> None:
    image = demo("640x480", 3)
    small = shrunk(image, scale)
    size = (round(640 / scale), round(480 / scale))
    assert small.shape == (size[1], size[0], 3)
    wanted = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(float) - wanted).mean() < 4.0


def test_each_half_is_encoded_once_for_all_who_ask_for_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = []

    def count(*arguments: object) -> bytes:
        encoded.append(arguments[1:])
        return encode(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "encode", count)
    raw = demo("320x240", 3)
    frame = ss.Frame(255 - raw, ss.PixelFormat.RGB8, 3, raw=raw)

    async def look() -> list[bytes]:
        with ThreadPoolExecutor(2) as workers:
            pair = Pair(frame, workers)
            looks = [Look(quality=100)] * 5 + [Look(raw=None)]
            return await asyncio.gather(*(pair.message(each) for each in looks))

    *same, other = run(look())
    assert set(same) == {same[0]}
    assert len(encoded) == 3
    header, before, after = unpack(same[0])
    assert (header.seq, header.raw, header.normalized) == (3, (0, 0, 320, 240), (0, 0, 320, 240))
    assert alike(decoded(before), raw)
    assert alike(decoded(after), 255 - raw)
    header, before, _ = unpack(other)
    assert (header.raw, before) == (None, b"")


def test_who_leaves_takes_nothing_from_the_others() -> None:
    raw = demo("320x240", 3)

    async def look() -> bytes:
        with ThreadPoolExecutor(1) as workers:
            pair = Pair(ss.Frame(raw, ss.PixelFormat.RGB8, 3, raw=raw), workers)
            leaving = asyncio.create_task(pair.message(Look()))
            staying = asyncio.create_task(pair.message(Look()))
            await asyncio.sleep(0)
            leaving.cancel()
            return await staying

    assert unpack(run(look()))[0].seq == 3


@pytest.mark.parametrize(
    ("given", "said"), [(0.25, 0.25), ([0.5, 0.5], 0.5), (None, None), ("x", None), (0, None), (True, None)]
)
def test_the_size_of_a_pixel(given: object, said: float | None) -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    frame = ss.Frame(image, ss.PixelFormat.RGB8, meta={"pixel_size_um": given}, raw=image)

    async def look() -> bytes:
        with ThreadPoolExecutor(1) as workers:
            return await Pair(frame, workers).message(Look(WHOLE, WHOLE))

    assert unpack(run(look()))[0].pixel_um == said
