"""Features and pixel formats of machine vision cameras."""

from __future__ import annotations

import pytest

from stainstream.errors import SourceError, UsageError
from stainstream.frame import PixelFormat
from stainstream.sources.features import chosen_format, features


@pytest.mark.parametrize(
    ("text", "read"),
    [("", {}), ("A:1", {"A": "1"}), ("A:1,B:x:y,", {"A": "1", "B": "x:y"}), ("Mode:Two Words", {"Mode": "Two Words"})],
)
def test_features(text: str, read: dict[str, str]) -> None:
    assert features(text) == read
    assert list(features(text)) == list(read)


@pytest.mark.parametrize("text", ["A", "A:1,A:2", ":1", "A=1"])
def test_wrong_features(text: str) -> None:
    with pytest.raises(UsageError, match="stands twice or is not NAME:VALUE"):
        features(text)


@pytest.mark.parametrize(
    ("offered", "current", "wished", "chosen"),
    [
        (["Mono8", "RGB8", "BayerGB8"], "Mono8", "", ("BayerGB8", PixelFormat.BayerGB8)),
        (["Mono8", "RGB8", "BayerGB8"], "RGB8", "", ("RGB8", PixelFormat.RGB8)),
        (["Mono8", "RGB8Packed"], "Mono8", "", ("RGB8Packed", PixelFormat.RGB8)),
        (["Mono8", "RGB8Packed"], "Mono8", "RGB8", ("RGB8Packed", PixelFormat.RGB8)),
        (["Mono8", "BayerRG12", "BayerRG8"], "Mono8", "", ("BayerRG8", PixelFormat.BayerRG8)),
        (["Mono8", "BayerRG12", "BayerRG8"], "BayerRG12", "", ("BayerRG12", PixelFormat.BayerRG12)),
        (["Mono12", "Mono8"], "Mono12", "", ("Mono12", PixelFormat.Mono12)),
        (["Mono12Packed", "Mono8"], "Mono12Packed", "", ("Mono8", PixelFormat.Mono8)),
    ],
)
def test_the_pixel_format(offered: list[str], current: str, wished: str, chosen: tuple[str, PixelFormat]) -> None:
    assert chosen_format("a camera", offered, current, wished) == chosen


@pytest.mark.parametrize(
    ("offered", "wished", "says"),
    [
        (["Mono12Packed"], "", "cannot use any pixel format of a camera: it offers Mono12Packed"),
        (["Mono8"], "RGB8", "cannot use the pixel format RGB8 of a camera: it offers Mono8; set another one"),
    ],
)
def test_no_pixel_format(offered: list[str], wished: str, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        chosen_format("a camera", offered, offered[0], wished)
