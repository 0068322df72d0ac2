"""Outputs that appear under their name only when they are whole."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from stainstream.alive import alive

__all__ = ["remove", "sweep", "whole"]

_OLD_S = 24 * 3600  # after which what another computer began is taken for abandoned


@contextlib.contextmanager
def whole(path: Path, begun: Path | None = None) -> Iterator[Path]:
    """Give a name beside `path` under which to make a file or folder; it takes the place of `path` at the end.

    Where the block fails what was made is removed, and what was at `path` before stays. What processes that were killed
    have left there is removed first. With `begun`, on the same disk, that takes the place, and stays where it fails.
    """
    sweep(path)
    if begun is not None:
        yield begun
        _replace(begun, path)
        return
    part = path.with_name(f".{path.name}.{_host()}-{os.getpid()}.part")
    try:
        yield part
        _replace(part, path)
    except BaseException:
        remove(part)
        raise


def sweep(path: Path) -> None:
    """Remove what was begun for `path` by a process of this computer that is gone, or long ago."""
    name = re.compile(re.escape(f".{path.name}.") + r"(?P<host>.+)-(?P<process>\d+)\.part")
    for each in path.parent.glob(".*.part"):
        match = name.fullmatch(each.name)
        if match and _abandoned(each, match["host"], int(match["process"])):
            remove(each)


def remove(path: Path) -> None:
    """Remove a file or folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _replace(part: Path, path: Path) -> None:
    if not path.is_dir():
        os.replace(part, path)
        return
    old = part.with_suffix(".old.part")  # a folder that is not empty cannot be replaced in one step
    os.replace(path, old)
    try:
        os.replace(part, path)
    except OSError:
        os.replace(old, path)
        raise
    remove(old)


def _abandoned(part: Path, host: str, process: int) -> bool:
    if host == _host() and sys.platform != "win32":
        return not alive(process)
    with contextlib.suppress(OSError):
        return time.time() - part.stat().st_mtime > _OLD_S
    return False


def _host() -> str:
    return re.sub(r"[^\w-]", "_", socket.gethostname())
