"""Sizes as users write them."""

from __future__ import annotations

import pytest

from stainstream.errors import UsageError
from stainstream.sources.size import Size


@pytest.mark.parametrize(
    ("text", "width", "height"),
    [("512x512", 512, 512), ("1X16384", 1, 16384), ("720p", 1280, 720), ("1080P", 1920, 1080), ("4k", 3840, 2160)],
)
def test_reads(text: str, width: int, height: int) -> None:
    assert Size.parse(text) == Size(width, height)


@pytest.mark.parametrize(
    "text", ["", "512", "0x5", "16385x1", "512x", "-1x5", "5x5x5", "1e3x5", "٣x٣", "999999x1", "8K"]
)
def test_refuses(text: str) -> None:
    with pytest.raises(UsageError, match="WIDTHxHEIGHT"):
        Size.parse(text)


def test_is_written_as_it_is_read() -> None:
    assert str(Size.parse("1080p")) == "1920x1080"
