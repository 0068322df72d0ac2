"""Baked tables on disk."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from stainstream.config import cache_folder
from stainstream.errors import ModelError

from .lut import COLORS, Lut

__all__ = ["cached", "folder"]

_DIGEST = hashlib.sha256().digest_size
_log = logging.getLogger(__name__)


def folder() -> Path:
    """Where tables are kept; safe to delete at any time."""
    return cache_folder() / "tables"


def cached(key: str, name: str, build: Callable[[], Lut], where: Path | None = None) -> Lut:
    """Load the table kept under `key`, in `folder()` or `where`, or build and keep it.

    A table file is the 64 MiB of little-endian words followed by their SHA-256. It is mapped, not read, and checked on
    every load; a damaged or truncated one is built anew. A cache that cannot be written costs a warning, not the table.
    """
    path = (where or folder()) / f"{key}.lut"
    try:
        return _load(path, name)
    except FileNotFoundError:
        _log.info("baking %s (once; kept in %s)", name, path.parent)
    except (ModelError, OSError) as error:
        _log.warning("baking %s again: %s", name, error)
    lut = build()
    try:
        _save(path, lut)
    except OSError as error:
        _log.warning("cannot keep the table of %s in %s: %s", name, path.parent, error.strerror or error)
    return lut


def _load(path: Path, name: str) -> Lut:
    if (size := path.stat().st_size) != 4 * COLORS + _DIGEST:
        raise ModelError(f"cannot use {path}", f"it has {size} bytes instead of {4 * COLORS + _DIGEST}")
    lut = Lut(np.memmap(path, "<u4", "r", shape=(COLORS,)), name)
    with path.open("rb") as file:
        file.seek(4 * COLORS)
        if file.read() != bytes.fromhex(lut.digest):
            raise ModelError(f"cannot use {path}", "its digest does not match: the file is damaged")
    return lut


def _save(path: Path, lut: Lut) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(prefix=path.stem, suffix=".partial", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(lut.data)
            file.write(bytes.fromhex(lut.digest))
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise
