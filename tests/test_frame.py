"""Frames and pixel formats."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stainstream.errors import FrameError
from stainstream.frame import Frame, PixelFormat

SIDES = st.integers(1, 99)
SOME_FORMAT = st.sampled_from(PixelFormat)
FORMATS = pytest.mark.parametrize("format", PixelFormat, ids=lambda each: str(each.value))

# Five rows of eight pixels.
CASES: dict[str, tuple[tuple[int, ...], type[np.generic], int]] = {
    "Mono8": ((5, 8), np.uint8, 8),
    "Mono10": ((5, 8), np.uint16, 10),
    "Mono14": ((5, 8), np.uint16, 14),
    "BayerRG8": ((5, 8), np.uint8, 8),
    "BayerGB12": ((5, 8), np.uint16, 12),
    "RGB8": ((5, 8, 3), np.uint8, 8),
    "BGR8": ((5, 8, 3), np.uint8, 8),
    "RGB16": ((5, 8, 3), np.uint16, 16),
    "RGBa8": ((5, 8, 4), np.uint8, 8),
    "BGRa8": ((5, 8, 4), np.uint8, 8),
    "RGB8_Planar": ((3, 5, 8), np.uint8, 8),
    "RGB16_Planar": ((3, 5, 8), np.uint16, 16),
    "YUV422_8": ((5, 8, 2), np.uint8, 8),
}


@pytest.mark.parametrize("name", CASES)
def test_a_format_knows_its_arrays(name: str) -> None:
    shape, dtype, bits = CASES[name]
    found = PixelFormat.named(name)
    assert (found.shape(5, 8), found.dtype, found.bits) == (shape, np.dtype(dtype), bits)
    assert found.is_bayer == name.startswith("Bayer")
    assert found.planar == name.endswith("_Planar")


@FORMATS
def test_every_format_is_found_by_its_own_name(format: PixelFormat) -> None:
    assert format.name == format.value
    assert PixelFormat.named(format.value) is format
    assert format.dtype == (np.uint8 if format.bits == 8 else np.uint16)


@pytest.mark.parametrize("name", ["", "rgb8", "Mono12p", "BayerRG12Packed", "RGB8 ", "order", "bits", "named"])
def test_an_unknown_format_is_refused_by_name(name: str) -> None:
    with pytest.raises(FrameError, match="unknown pixel format") as caught:
        PixelFormat.named(name)
    assert repr(name) in str(caught.value)
    assert "BayerRG12, " in str(caught.value)


@given(SOME_FORMAT, SIDES, SIDES)
def test_shape_and_size_are_inverse(format: PixelFormat, height: int, width: int) -> None:
    assert format.size(format.shape(height, width)) == (height, width)
    frame = Frame(np.zeros(format.shape(height, width), format.dtype), format)
    assert (frame.height, frame.width) == (height, width)


@settings(max_examples=500)
@given(SOME_FORMAT, st.lists(st.integers(0, 5), max_size=5).map(tuple))
def test_a_size_is_found_or_refused(format: PixelFormat, shape: tuple[int, ...]) -> None:
    fits = (
        0 not in shape
        and len(shape) == (2 if format.channels == 1 else 3)
        and (format.channels == 1 or shape[0 if format.planar else -1] == format.channels)
    )
    if fits:
        assert format.size(shape) == (shape[1:] if format.planar else shape[:2])
    else:
        with pytest.raises(FrameError, match="no axis empty"):
            format.size(shape)


@pytest.mark.parametrize(
    ("format", "drawn"),
    [
        (PixelFormat.Mono8, "(H, W)"),
        (PixelFormat.BayerRG8, "(H, W)"),
        (PixelFormat.RGB8, "(H, W, 3)"),
        (PixelFormat.YUV422_8, "(H, W, 2)"),
        (PixelFormat.RGB8_Planar, "(3, H, W)"),
    ],
)
def test_a_wrong_shape_is_told_the_right_one(format: PixelFormat, drawn: str) -> None:
    with pytest.raises(FrameError) as caught:
        format.size((7,))
    assert f"shape (7,) is not a {format.value} image" in str(caught.value)
    assert drawn in str(caught.value)


@pytest.mark.parametrize(
    ("image", "format", "message"),
    [
        (np.zeros((4, 4), np.uint16), PixelFormat.Mono8, "a Mono8 image of uint16: it must be uint8"),
        (np.zeros((4, 4), np.uint8), PixelFormat.Mono12, "a Mono12 image of uint8: it must be uint16"),
        (np.zeros((4, 4, 3), np.float32), PixelFormat.RGB8, "a RGB8 image of float32"),
        (np.zeros((4, 4), np.dtype(">u2")), PixelFormat.Mono16, "a Mono16 image of >u2"),
        (np.zeros((4, 4), np.uint8), PixelFormat.RGB8, "shape (4, 4) is not a RGB8 image"),
        (np.zeros((4, 0, 3), np.uint8), PixelFormat.RGB8, "shape (4, 0, 3) is not a RGB8 image"),
        (np.zeros((4, 4, 3), np.uint8), PixelFormat.RGB8_Planar, "shape (4, 4, 3) is not a RGB8_Planar image"),
        (np.zeros((), np.uint8), PixelFormat.Mono8, "shape () is not a Mono8 image"),
    ],
)
def test_a_frame_whose_pixels_are_not_its_formats_is_refused(image: Any, format: PixelFormat, message: str) -> None:
    with pytest.raises(FrameError) as caught:
        Frame(image, format)
    assert message in str(caught.value)


def test_a_frame_is_frozen_and_its_metadata_empty() -> None:
    frame = Frame(np.zeros((1, 1), np.uint8), PixelFormat.Mono8)
    assert (frame.seq, frame.captured_ns, dict(frame.meta)) == (0, 0, {})
    with pytest.raises(dataclasses.FrozenInstanceError):
        frame.seq = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        frame.meta["a"] = 1  # type: ignore[index]


def test_a_frame_passes_metadata_and_pixels_through_untouched() -> None:
    meta, image = {"stage": {"x": 1.5}}, np.zeros((2, 3), np.uint8)
    frame = Frame(image, PixelFormat.Mono8, 7, 8, meta)
    assert frame.image is image
    assert frame.meta is meta
    assert (frame.seq, frame.captured_ns) == (7, 8)
