"""Compressed pixels: whole, damaged, and larger than they look."""

from __future__ import annotations

import json
import resource
import sys
import tracemalloc
from typing import Any

import cv2
import lz4.block
import numpy as np
import pytest
import zstandard

from stainstream.compression import compress, expand
from stainstream.errors import MissingExtra, WireError
from stainstream.frame import Frame, PixelFormat
from stainstream.wire.array10 import Array10
from stainstream.wire.native import Native

ENCODINGS = ["lz4", "zstd", "jpeg"]
_, Y = np.meshgrid(np.arange(48), np.arange(32))
SMOOTH = np.stack([4 * Y, 6 * Y, 200 - Y], axis=-1).astype(np.uint8)


def sent(encoding: str, image: np.ndarray[Any, Any] = SMOOTH, kind: PixelFormat = PixelFormat.RGB8) -> list[bytes]:
    return [bytes(part) for part in Native(encoding=encoding, quality=95).encode(Frame(image, kind, 3, 1))]


def changed(parts: list[bytes], payload: bytes | None = None, **changes: Any) -> list[bytes]:
    header = json.dumps(json.loads(parts[1]) | changes).encode()
    return [parts[0], header, parts[2] if payload is None else payload]


def cause(parts: list[bytes], limit: int = 1 << 20) -> str:
    with pytest.raises(WireError) as error:
        Native(max_frame_bytes=limit).decode(parts)
    return error.value.cause


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", [PixelFormat.RGB8, PixelFormat.Mono8, PixelFormat.Mono16, PixelFormat.BayerGR12])
def test_what_is_compressed_comes_back(encoding: str, kind: PixelFormat) -> None:
    image = SMOOTH if kind.channels == 3 else SMOOTH[..., 0].astype(kind.dtype)
    if encoding == "jpeg" and kind.value not in ("RGB8", "Mono8"):
        with pytest.raises(WireError, match="a JPEG is RGB8 or Mono8"):
            sent(encoding, image, kind)
        return
    parts = sent(encoding, image, kind)
    assert len(parts[2]) < image.nbytes / 2
    for codec, message in ((Native(), parts), (Array10(), parts[1:])):
        frame = codec.decode(list(message))
        assert frame is not None
        assert (frame.format, frame.seq, "encoding" in frame.meta) == (kind, 3, False)
        assert np.abs(frame.image.astype(int) - image).max() <= (6 if encoding == "jpeg" else 0)


def test_others_read_and_write_what_we_do() -> None:
    """The libraries alone, as a client would use them."""
    raw = SMOOTH.tobytes()
    assert lz4.block.decompress(sent("lz4")[2], uncompressed_size=len(raw)) == raw
    assert zstandard.ZstdDecompressor().decompress(sent("zstd")[2]) == raw
    picture = cv2.imdecode(np.frombuffer(sent("jpeg")[2], np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert np.abs(picture[..., ::-1].astype(int) - SMOOTH).max() <= 6
    frame = Native().decode(changed(sent(""), zstandard.ZstdCompressor(level=19).compress(raw), encoding="zstd"))
    assert frame is not None
    np.testing.assert_array_equal(frame.image, SMOOTH)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_limit_is_that_of_the_image(encoding: str) -> None:
    assert Native(max_frame_bytes=SMOOTH.nbytes).decode(list(sent(encoding))) is not None
    assert cause(sent(encoding), SMOOTH.nbytes - 1) == "large frame"


def test_bombs_are_refused_before_they_go_off() -> None:
    huge = 3 << 28
    zeros = bytes(1 << 20)
    zstd = zstandard.ZstdCompressor(level=3)
    stream = zstd.compressobj(size=huge)
    bomb = b"".join([*(stream.compress(zeros) for _ in range(huge >> 20)), stream.flush()])
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(zeros)
    claims: dict[str, Any] = {"shape": [1 << 14, 1 << 14, 3]}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    # All of it claimed; more than claimed; not said; said otherwise.
    assert cause(changed(sent("zstd"), bomb, **claims)) == "large frame"
    assert cause(changed(sent("zstd"), bomb)) == "long payload"
    assert cause(changed(sent("zstd"), unsized)) in ("short payload", "long payload")
    assert cause(changed(sent("zstd"), zstd.compress(zeros[:9]))) == "short payload"
    assert cause(changed(sent("lz4"), lz4.block.compress(zeros, store_size=False))) == "corrupt lz4"
    assert cause(changed(sent("lz4"), shape=[1 << 9, 1 << 9, 3])) == "short payload"
    assert cause(changed(sent("lz4"), **claims), 1 << 40) == "short payload"
    assert cause(changed(sent("jpeg"), **claims)) == "large frame"
    assert cause(changed(sent("jpeg"), **claims), 1 << 40) == "pixels do not fit"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_damage(encoding: str) -> None:
    parts = sent(encoding)
    damaged = "corrupt JPEG" if encoding == "jpeg" else f"corrupt {encoding}"
    assert cause(changed(parts, parts[2][: len(parts[2]) // 2])) in (damaged, "short payload")
    assert cause(changed(parts, bytes(2000))) in (damaged, "short payload")
    assert cause(changed(parts, b"")) in (damaged, "short payload")
    assert cause(changed(parts, encoding="bslz4")) == "unsupported encoding"


def test_other_jpegs() -> None:
    parts = sent("jpeg")
    assert cause(changed(parts, pixel_format="BGR8")) == "pixels do not fit"
    assert cause(changed(parts, shape=[32, 48])) == "pixels do not fit"
    assert cause(changed(parts, type="uint16")) in ("short payload", "pixels do not fit")
    scan = parts[2].index(b"\xff\xda")
    assert cause(changed(parts, parts[2][:scan] + b"\xff\xda\x00\x02" * 100 + parts[2][scan:])) == "corrupt JPEG"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_missing_library_is_named(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = sent(encoding)
    monkeypatch.setitem(sys.modules, {"lz4": "lz4.block", "zstd": "zstandard", "jpeg": "simplejpeg"}[encoding], None)
    with pytest.raises(MissingExtra, match=r"pip install 'stainstream\[compress\]'"):
        Native(encoding=encoding)
    with pytest.raises(WireError, match=r"pip install 'stainstream\[compress\]'") as error:
        Native().decode(list(parts))
    assert error.value.cause == "unsupported encoding"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_bytes_alone(encoding: str) -> None:
    packed = compress(SMOOTH.data.cast("B"), encoding, SMOOTH.shape)
    assert len(expand(packed, encoding, SMOOTH.shape, 1, SMOOTH.nbytes)) == SMOOTH.nbytes
