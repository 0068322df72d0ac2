"""An image file as a frame."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from stainstream.color.convert import to_rgb8
from stainstream.errors import SourceError
from stainstream.frame import PixelFormat
from stainstream.sources.image import read_image


def _noise(*shape: int, dtype: type[np.uint8 | np.uint16] = np.uint8) -> NDArray[Any]:
    return np.random.default_rng(3).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def _written(path: Path, image: NDArray[Any]) -> Path:
    done, data = cv2.imencode(path.suffix, image)
    assert done
    path.write_bytes(data.tobytes())
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize(
    ("shape", "dtype", "format"),
    [
        ((7, 9), np.uint8, PixelFormat.Mono8),
        ((7, 9), np.uint16, PixelFormat.Mono16),
        ((7, 9, 3), np.uint8, PixelFormat.RGB8),
        ((7, 9, 3), np.uint16, PixelFormat.RGB16),
        ((7, 9, 4), np.uint8, PixelFormat.RGBa8),
        ((1, 1, 3), np.uint8, PixelFormat.RGB8),
    ],
)
def test_as_it_is_stored(
    tmp_path: Path, suffix: str, shape: tuple[int, ...], dtype: type[np.uint8], format: PixelFormat
) -> None:
    image = _noise(*shape, dtype=dtype)
    frame = read_image(_written(tmp_path / f"a{suffix}", image))
    assert (frame.format, frame.meta) == (format, {"file": f"a{suffix}"})
    wanted = image if image.ndim == 2 else image[..., [2, 1, 0, 3][: image.shape[2]]]  # OpenCV wrote it, blue first
    np.testing.assert_array_equal(frame.image, wanted)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".webp"])
def test_red_stays_red(tmp_path: Path, suffix: str) -> None:
    Image.new("RGB", (20, 10), (250, 20, 40)).save(tmp_path / f"a{suffix}", quality=95)
    frame = read_image(tmp_path / f"a{suffix}")
    rgb = to_rgb8(frame.image, frame.format)
    assert np.abs(rgb.astype(int) - (250, 20, 40)).max() <= 6


def test_transparency_of_16_bits_is_left_out(tmp_path: Path) -> None:
    image = _noise(5, 6, 4, dtype=np.uint16)
    frame = read_image(_written(tmp_path / "a.png", image))
    assert frame.format is PixelFormat.RGB16
    assert frame.image.flags.c_contiguous
    np.testing.assert_array_equal(frame.image, image[..., 2::-1])


def test_palettes_and_single_bits_are_spelled_out(tmp_path: Path) -> None:
    colored = Image.fromarray(_noise(9, 9, 3)).quantize(16)
    colored.save(tmp_path / "p.png")
    frame = read_image(tmp_path / "p.png")
    np.testing.assert_array_equal(to_rgb8(frame.image, frame.format), np.asarray(colored.convert("RGB")))
    Image.fromarray(_noise(9, 9) > 128).save(tmp_path / "b.png")
    assert set(np.unique(read_image(tmp_path / "b.png").image)) == {0, 255}


@pytest.mark.parametrize(
    ("format", "shape"),
    [
        (PixelFormat.BayerRG12, (6, 8)),
        (PixelFormat.Mono10, (6, 8)),
        (PixelFormat.RGB12, (6, 8, 3)),
        (PixelFormat.BGR12, (6, 8, 3)),
    ],
)
def test_a_named_format_reads_samples_in_the_order_of_the_file(
    tmp_path: Path, format: PixelFormat, shape: tuple[int, ...]
) -> None:
    stored = _noise(*shape, dtype=np.uint16) >> 4
    opencv_order = stored if stored.ndim == 2 else stored[..., ::-1]
    frame = read_image(_written(tmp_path / "a.png", np.ascontiguousarray(opencv_order)), format)
    assert frame.format is format
    np.testing.assert_array_equal(frame.image, stored)


@pytest.mark.parametrize(
    "format", [PixelFormat.BayerRG12, PixelFormat.RGB8, PixelFormat.RGB8_Planar, PixelFormat.YUV422_8]
)
def test_a_format_that_does_not_fit_is_refused(tmp_path: Path, format: PixelFormat) -> None:
    path = _written(tmp_path / "a.png", _noise(6, 8))
    with pytest.raises(SourceError, match=r"a\.png") as error:
        read_image(path, format)
    assert format.value in str(error.value)


@pytest.mark.parametrize("name", ["tüle.png", "組織 1.png", "a'b%20#c.png", "%03d.png"])
def test_any_name(tmp_path: Path, name: str) -> None:
    assert read_image(_written(tmp_path / name, _noise(4, 4))).meta["file"] == name


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".webp"])
@pytest.mark.parametrize("left", [0.0, 0.02, 0.3, 0.5, 0.98])
def test_cut_short(tmp_path: Path, suffix: str, left: float) -> None:
    path = _written(tmp_path / f"a{suffix}", cv2.GaussianBlur(_noise(200, 300, 3), (5, 5), 0))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * left)])
    with pytest.raises(SourceError, match=r"a\.\w+: (it is not a|the image is damaged)"):
        read_image(path)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200))
def test_garbage(tmp_path_factory: pytest.TempPathFactory, garbage: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "garbage.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + garbage)
    with pytest.raises(SourceError, match="cannot read"):
        read_image(path)


def test_samples_that_no_format_names(tmp_path: Path) -> None:
    path = _written(tmp_path / "a.tif", np.zeros((5, 5, 3), np.float32))
    with pytest.raises(SourceError, match="3 channels of float32"):
        read_image(path)


def _bomb(path: Path, side: int) -> Path:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))
    return path


def test_a_decompression_bomb_is_refused_unopened(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"declares 30000x30000 pixels, more than 268435456; set max_pixels"):
        read_image(_bomb(tmp_path / "bomb.png", 30_000))


def test_max_pixels(tmp_path: Path) -> None:
    path = _written(tmp_path / "a.png", _noise(10, 10, 3))
    assert read_image(path, max_pixels=100).width == 10
    with pytest.raises(SourceError, match="declares 10x10 pixels, more than 99"):
        read_image(path, max_pixels=99)
    with pytest.raises(SourceError, match="larger than any image of 20 pixels"):
        read_image(path, max_pixels=20)


def test_not_a_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(SourceError, match="cannot read"):
            read_image(path)
