"""Files that appear under their name only when they are whole."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(path: Path, data: bytes | memoryview) -> None:
    """Write `data` to `path`, in place of what was there; where that fails, what was there stays.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):  # what went wrong is being reported already
            part.unlink(missing_ok=True)
        raise
