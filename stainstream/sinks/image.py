"""A frame as an image file."""

from __future__ import annotations

from pathlib import Path

import cv2

from stainstream.errors import SinkError
from stainstream.frame import Frame
from stainstream.wholefile import write_whole

from .bgr import bgr

__all__ = ["encode_image", "write_image"]


def write_image(path: Path, frame: Frame, quality: int = 95, compression: int = 1) -> None:
    """Write an RGB8 frame as the kind of image that the file's name says; it appears only when it is whole.

    Parameters
    ----------
    quality
        1 to 100, of JPEG (without chroma subsampling) and WebP.
    compression
        0 (fast) to 9 (small), of PNG.

    Raises
    ------
    SinkError
        If the frame is not RGB8, cannot be encoded so, or the file cannot be written.
    """
    data = encode_image(path.suffix, frame, quality, compression)
    try:
        write_whole(path, data)
    except OSError as error:
        raise SinkError(f"cannot write {path}", error.strerror or str(error)) from error


def encode_image(suffix: str, frame: Frame, quality: int = 95, compression: int = 1) -> memoryview:
    """An RGB8 frame as the bytes of an image file whose name would end in `suffix`; see `write_image`."""
    suffix = suffix.lower()
    asked = (
        f"cannot encode frame {frame.seq} ({frame.width}x{frame.height}) as {suffix[1:] or 'a file without a suffix'}"
    )
    try:
        done, data = cv2.imencode(suffix, bgr(frame), _parameters(suffix, quality, compression))
    except cv2.error as error:
        raise SinkError(asked, error.err) from error
    if not done:
        raise SinkError(asked, "OpenCV refused")
    return data.data


def _parameters(suffix: str, quality: int, compression: int) -> list[int]:
    match suffix:
        case ".png":
            return [cv2.IMWRITE_PNG_COMPRESSION, compression]
        case ".jpg" | ".jpeg":
            full = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
            return [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, full]
        case ".webp":
            return [cv2.IMWRITE_WEBP_QUALITY, quality]
    return []
