"""``stainstream doctor``: what this machine can do, and what would add to it."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from importlib import metadata

import typer

__all__ = ["doctor"]

_CORE = ("numpy", "numba", "opencv-python-headless", "pyzmq", "onnx", "msgspec", "typer")
_OPTIONAL = {
    "cuda-core": "gpu",
    "onnxruntime": "onnx",
    "torch": "train",
    "aiohttp": "view",
    "openvino": "bench",
    "matplotlib": "bench",
    "pypylon": "basler",
    "pymmcore-plus": "micromanager",
    "lz4": "compress",
    "zstandard": "compress",
    "simplejpeg": "compress",
    "cbor2": "dectris",
    "dectris-compression": "dectris",
}
_TABLE_BYTES = 64 << 20


def doctor() -> None:
    """Say what this machine can do, what is missing, and the command that adds it; exit 1 if something is broken."""
    broken = False
    for good, line in _findings():
        broken |= not good
        typer.echo(f"{'ok     ' if good else 'BROKEN '}{line}")
    for name, extra in _OPTIONAL.items():
        version = _version(name)
        cure = f"missing; run: pip install 'stainstream[{extra}]'"
        typer.echo(f"{'ok     ' if version else 'absent '}{name} {version or cure}")
    typer.echo(_aravis())
    if broken:
        raise typer.Exit(1)


def _findings() -> Iterator[tuple[bool, str]]:
    yield (
        True,
        f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} processors",
    )
    for name in _CORE:
        version = _version(name) or (_version("opencv-python") if name.startswith("opencv") else "")
        yield bool(version), f"{name} {version or 'missing; run: pip install stainstream'}"
    yield _cache()
    yield from _engines()


def _aravis() -> str:
    """Whether the library behind ``genicam:`` is there; it is the system's, so no package brings it."""
    from stainstream.capture.aravis import library
    from stainstream.errors import SourceError

    try:
        library()
    except SourceError as error:
        return f"absent aravis 0.8 missing; {error.cure}"
    return "ok     aravis 0.8"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _cache() -> tuple[bool, str]:
    from stainstream.color.cache import folder

    try:
        folder().mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder()).free
    except OSError as error:
        return False, f"cache {folder()}: {error.strerror}; set STAINSTREAM_CACHE to a folder that can be written"
    tables = len(list(folder().glob("*.lut")))
    enough = tables > 0 or free > 2 * _TABLE_BYTES
    return enough, f"cache {folder()}: {tables} tables, {free >> 20} MiB free"


def _engines() -> Iterator[tuple[bool, str]]:
    """Each engine on a real frame; table engines must agree to the byte."""
    import numpy as np

    from stainstream.api import load
    from stainstream.engines import TABLE
    from stainstream.errors import StainstreamError

    frame = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    try:
        with load(engine="lut_numpy") as reference:
            expected = reference(frame)
    except StainstreamError as error:
        yield False, f"default model: {error}"
        return
    for row in TABLE:
        if not row.name.startswith("lut"):
            continue
        if (reason := row.lacking) is not None:
            yield True, f"engine {row.name} has nothing to run on: {reason}"
            continue
        try:
            with load(engine=row.name) as normalize:
                same = np.array_equal(normalize(frame), expected)
                yield same, f"engine {normalize.choice}: {'exact' if same else 'differs from lut_numpy'}"
        except StainstreamError as error:
            yield False, f"engine {row.name}: {error}"
