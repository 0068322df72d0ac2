"""Declared sizes of image files, against the encoders of two libraries."""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stainstream.sources.header import declared_size

SIDES = st.integers(1, 300)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp", "webp"])
@given(width=SIDES, height=SIDES)
def test_what_opencv_writes(suffix: str, channels: int, width: int, height: int) -> None:
    done, data = cv2.imencode(f".{suffix}", np.full((height, width, channels), 9, np.uint8))
    assert done
    assert declared_size(data.tobytes()) == (width, height)


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("PNG", "P", {}),
        ("JPEG", "RGB", {"progressive": True, "exif": b"Exif\0\0" + b"\xff\xd8\xff\xc0\0\x11\x08\0\1\0\1" * 9}),
        ("JPEG", "L", {"comment": b"\xff\xc0" * 40}),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}),
        ("TIFF", "1", {}),
        ("BMP", "L", {}),
        ("WEBP", "RGBA", {"lossless": True}),
        ("WEBP", "RGB", {"quality": 50}),
        ("WEBP", "RGB", {"icc_profile": b"profile"}),
    ],
)
def test_what_pillow_writes(kind: str, mode: str, options: dict[str, object]) -> None:
    data = io.BytesIO()
    Image.new(mode, (321, 123)).save(data, kind, **options)
    assert declared_size(data.getvalue()) == (321, 123)


def test_big_endian_tiff_and_old_bitmap() -> None:
    tiff = (
        b"MM\0*"
        + struct.pack(">IH", 8, 2)
        + struct.pack(">HHIHxx", 256, 3, 1, 640)
        + struct.pack(">HHII", 257, 4, 1, 480)
    )
    assert declared_size(tiff) == (640, 480)
    assert declared_size(b"BM" + bytes(12) + struct.pack("<IHHHH", 12, 640, 480, 1, 24)) == (640, 480)
    assert declared_size(b"BM" + bytes(12) + struct.pack("<Iii", 40, 640, -480)) == (640, 480)


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"GIF89a" + bytes(40), b"RIFF1234WAVE", b"\xff\xd8\xff", b"BM", b"II*\0"]
)
def test_anything_else_has_none(data: bytes) -> None:
    assert declared_size(data) is None


MAGICS = [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"BM", b"RIFF1234WEBPVP8 ", b"RIFF1234WEBPVP8X"]


@given(st.sampled_from(MAGICS), st.binary(max_size=300))
def test_garbage_never_fails(magic: bytes, garbage: bytes) -> None:
    size = declared_size(magic + garbage)
    assert size is None or min(size) >= 0


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp", "webp"])
def test_every_beginning_of_a_file_says_the_same_or_nothing(suffix: str) -> None:
    data = cv2.imencode(f".{suffix}", np.full((40, 50, 3), 9, np.uint8))[1].tobytes()
    assert {declared_size(data[:end]) for end in range(len(data))} <= {None, (50, 40)}
