"""One frame to keep: raw, normalized, and a note of what it is."""

from __future__ import annotations

import hashlib
import io
import time
import zipfile
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import msgspec

from stainstream.control import Status
from stainstream.frame import Frame, PixelFormat
from stainstream.sinks.image import encode_image

__all__ = ["archive", "file_name"]


def file_name(frame: Frame) -> str:
    """Name of a frame's snapshot, without a suffix: when it was captured, and its number."""
    return f"stainstream_{_captured(frame):%Y%m%dT%H%M%S}_{frame.seq:09d}"


def archive(frame: Frame, status: Status | None) -> bytes:
    """A ZIP file of ``raw.png``, ``normalized.png`` and ``.json``, each with the frame's name before it.

    Raises
    ------
    SinkError
        If an image cannot be encoded.
    """
    assert frame.raw is not None
    name = file_name(frame)
    raw = Frame(frame.raw, PixelFormat.RGB8, frame.seq)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as packed:  # PNG is compressed already
        packed.writestr(f"{name}_raw.png", encode_image(".png", raw))
        packed.writestr(f"{name}_normalized.png", encode_image(".png", frame))
        packed.writestr(f"{name}.json", msgspec.json.format(msgspec.json.encode(_note(frame, status), enc_hook=str)))
    return made.getvalue()


def _captured(frame: Frame) -> datetime:
    """Wall-clock time of capture."""
    return datetime.fromtimestamp(time.time() - (time.monotonic_ns() - frame.captured_ns) / 1e9, UTC)


def _note(frame: Frame, status: Status | None) -> dict[str, Any]:
    assert frame.raw is not None
    return {
        "stainstream": version("stainstream"),
        "frame": frame.seq,
        "captured_utc": _captured(frame).isoformat(),
        "width": frame.width,
        "height": frame.height,
        "source": status.source if status else None,
        "model": frame.meta.get("model"),
        "sha256_of_pixels": {
            "raw": hashlib.sha256(frame.raw.tobytes()).hexdigest(),
            "normalized": hashlib.sha256(frame.image.tobytes()).hexdigest(),
        },
        "meta": {key: value for key, value in frame.meta.items() if key != "model"},
    }
