"""Frames to record, and other people's libraries to read recordings with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

import stainstream as ss
from stainstream.opencv import quiet
from stainstream.recording.base import Shot

FORMATS = ("mp4", "ome.tiff", "ome.zarr")
MODEL = {"name": "he-reinhard", "sha256": "5e" * 32, "engine": "LutNumba"}


def shots(size: str = "160x120", count: int = 12, both: bool = False) -> list[Shot]:
    """Tissue, a frame every 40 ms on a stage that moves, as the pipeline would give it."""
    with ss.open_source(f"demo?size={size}&rate=0&frames={count}") as source:
        return [
            Shot(
                {"normalized": frame.image} | ({"raw": np.ascontiguousarray(frame.image[::-1])} if both else {}),
                100 + frame.seq,
                1_000_000_000 + 40_000_000 * frame.seq,
                {
                    "model": MODEL,
                    "source": "scope <1> & \x07 more",
                    "stage": {"x": 12.5 + frame.seq, "y": -3.25, "z": float("nan")},
                    "exposure_ms": 8,
                },
            )
            for frame in source
        ]


def lines(path: Path) -> list[dict[str, Any]]:
    """A sidecar's lines."""
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


def read(path: Path) -> NDArray[np.uint8]:
    """All frames of a recording, (frames, height, width, 3): by OpenCV, tifffile or zarr."""
    if path.suffix == ".mp4":
        return np.stack(list(_video(path)))
    if path.suffix == ".zarr":
        import zarr

        array = zarr.open_group(path, mode="r")["0"]
        assert isinstance(array, zarr.Array)
        return np.asarray(array[:], np.uint8).transpose(0, 2, 3, 1)
    import tifffile

    with tifffile.TiffFile(path) as file:
        (series,) = file.series
        assert series.kind == "ome"
        image = np.asarray(series.asarray(), np.uint8)
    return image[None] if image.ndim == 3 else image


def _video(path: Path) -> Iterator[NDArray[np.uint8]]:
    quiet()
    video = cv2.VideoCapture(str(path))
    while (got := video.read())[0]:
        yield np.ascontiguousarray(got[1][..., ::-1], np.uint8)
    video.release()


def check(path: Path, expected: list[NDArray[np.uint8]]) -> None:
    """Check that a recording holds `expected`, to the bit or, of a video, as far as the eye can tell."""
    found = read(path)
    assert len(found) == len(expected)
    for image, wanted in zip(found, expected, strict=True):
        if path.suffix == ".mp4":
            height, width, _ = wanted.shape
            assert image.shape == (height + height % 2, width + width % 2, 3)
            assert cv2.PSNR(np.ascontiguousarray(image[:height, :width]), wanted) > 30  # dB
        else:
            np.testing.assert_array_equal(image, wanted)
