"""OME-Zarr.

zarr-python and acquire-zarr could write it too. They took 45 ms and more of a processor for a frame of 1080p, where a
file takes 2: with the codec ``transpose`` a chunk's bytes are the frame's own. And acquire-zarr left chunks that no
reader accepts when the disk was full.

Source: Zarr core specification 3.1, OME-NGFF 0.5.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from stainstream.frame import RGB8

from .base import About, Encoding, Stamp, Writer, utc

__all__ = ["OmeZarr"]

_EVERY_S = 1.0  # of recorded time, between two updates of the array's shape
_LONGEST = 20  # digits of what changes in a document
_CHANNELS = (("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF"))


class OmeZarr(Writer):
    """A Zarr 3 group after OME-NGFF 0.5, axes t, c, y, x, one uncompressed chunk (a file) a frame.

    The shape is updated every second of recorded time: that is what a killed process can leave outside of it, though
    the chunks are there. It is written in place, so a full disk costs the frame that did not fit and no other.
    """

    def __init__(self, path: Path, about: About, encoding: Encoding) -> None:  # noqa: ARG002 - nothing to encode
        self._about, self._path = about, path
        self._chunks = path / "0" / "c"
        path.mkdir(parents=True)
        self._chunks.mkdir(parents=True)
        self._frames, self._seconds, self._saved = 0, 0.0, 0.0
        self._group = _Document(path / "zarr.json")
        self._array = _Document(path / "0" / "zarr.json")
        self._save()
        self._closed = False

    def write(self, rgb: RGB8, stamp: Stamp) -> None:
        folder = self._chunks
        for name in (str(self._frames), "0", "0"):  # one by one: a recording that was deleted shall not come back
            folder /= name
            folder.mkdir()
        part = folder / "0.part"
        try:
            part.write_bytes(rgb.data)
            os.replace(part, folder / "0")
        except OSError:
            part.unlink(missing_ok=True)
            raise
        self._frames, self._seconds = self._frames + 1, stamp.seconds
        if self._frames == 1 or self._seconds - self._saved >= _EVERY_S:
            self._save()

    def close(self) -> int:
        if not self._closed:
            self._closed = True
            try:
                self._save()
            finally:
                self._group.close()
                self._array.close()
        return self._frames

    def _save(self) -> None:
        self._saved = self._seconds
        interval = self._seconds / (self._frames - 1) if self._frames > 1 and self._seconds > 0 else 1.0
        self._group.save(_group(self._about, interval))
        self._array.save(_array(self._about, self._frames))


class _Document:
    """A JSON file that is rewritten in place, padded so that it never needs more room than at first."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb", buffering=0)
        self._length = 0

    def save(self, content: dict[str, Any]) -> None:
        data = json.dumps(content, indent=1).encode()
        self._length = self._length or len(data) + 2 * _LONGEST
        self._file.seek(0)
        self._file.write(data.ljust(self._length))

    def close(self) -> None:
        self._file.close()


def _group(about: About, interval: float) -> dict[str, Any]:
    um = about.pixel_size_um
    space = {"type": "space"} | ({"unit": "micrometer"} if um else {})
    axes = [
        {"name": "t", "type": "time", "unit": "second"},
        {"name": "c", "type": "channel"},
        {"name": "y", **space},
        {"name": "x", **space},
    ]
    scale = {"type": "scale", "scale": [round(interval, 9), 1.0, um or 1.0, um or 1.0]}
    datasets = [{"path": "0", "coordinateTransformations": [scale]}]
    window = {"min": 0, "max": 255, "start": 0, "end": 255}
    channels = [{"label": label, "color": color, "window": window, "active": True} for label, color in _CHANNELS]
    ome = {
        "version": "0.5",
        "multiscales": [{"name": about.stream, "axes": axes, "datasets": datasets}],
        "omero": {"channels": channels, "rdefs": {"model": "color"}},
    }
    recording = {"stream": about.stream, "began": utc(about.utc_ns), **about.facts}
    return {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome, "stainstream": recording}}


def _array(about: About, frames: int) -> dict[str, Any]:
    size = [3, about.height, about.width]
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [frames, *size],
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, *size]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "transpose", "configuration": {"order": [0, 2, 3, 1]}}, {"name": "bytes"}],
        "dimension_names": ["t", "c", "y", "x"],
        "attributes": {},
    }
