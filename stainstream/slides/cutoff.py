"""TIFF files that end too early."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import Any

__all__ = ["cut_off"]


def cut_off(path: Path) -> str | None:
    """Why a file in TIFF is not whole, or None where nothing says so, it is no TIFF, or tifffile is missing.

    A copy that was broken off often opens, without its last levels or its label, or with gray tiles.
    """
    if importlib.util.find_spec("tifffile") is None or not path.is_file():
        return None
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what is wrong with a file is said in our own errors
    try:
        with tifffile.TiffFile(path) as file:
            return _ends(file)
    except (tifffile.TiffFileError, OSError, ValueError, KeyError, IndexError):
        return None  # no TIFF, or so strange a one that only its reader can tell


def _ends(file: Any) -> str | None:
    size, handle = file.filehandle.size, file.filehandle
    for index, page in enumerate(file.pages):
        end = max((at + length for at, length in zip(page.dataoffsets, page.databytecounts, strict=True)), default=0)
        if end > size:
            return f"it is cut off: it has {size} bytes, and image {index} ends at {end}"
    handle.seek(file.pages.next_page_offset)
    following = int.from_bytes(handle.read(file.tiff.offsetsize), "little" if file.byteorder == "<" else "big")
    return f"it is cut off: it has {size} bytes, and goes on at {following}" if following else None
