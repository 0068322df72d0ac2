"""What a benchmark writes down."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

__all__ = ["PAPER", "PAPER_FPS", "Row", "machine", "row"]

PAPER_FPS = 881.8
PAPER = (
    "the paper: 881.8 frames a second of 512x512 on an NVIDIA GTX 1080Ti with a 6-core Intel i7-6850K, "
    '"the input and output (IO) time is not included" (section 3.3, table 1)'
)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement."""

    bench: str
    """``single``: one frame a call; ``batch``: several; ``stream``: each thread with frames of its own; ``loop``:
    replay -> run -> subscriber, three processes, input and output included."""
    method: str
    engine: str
    threads: int
    size: str
    input: str
    """``tissue`` (bundled), ``noise`` (uniform, the worst case) or a file's name."""
    fps: float
    """Frames a second."""
    ms_median: float
    ms_q1: float
    ms_q3: float
    """Time of one frame, in ms."""
    vs_paper: float | None
    """`fps` over the paper's 881.8; of 512x512 only."""
    vs_copy: float | None
    """Time of a frame over that of a plain memory copy of it, in the same run."""


def row(*, size: str, fps: float, copy_ms: float | None, ms: tuple[float, float, float], **rest: Any) -> Row:
    """A row with its ratios."""
    median, q1, q3 = (round(float(each), 5) for each in ms)
    return Row(
        size=size,
        fps=round(float(fps), 2),
        ms_median=median,
        ms_q1=q1,
        ms_q3=q3,
        vs_paper=round(float(fps) / PAPER_FPS, 3) if size == "512x512" else None,
        vs_copy=round(float(ms[0] / copy_ms), 3) if copy_ms else None,
        **rest,
    )


def machine() -> dict[str, Any]:
    """Hardware and versions, for the record."""
    names = ("stainstream", "numpy", "numba", "opencv-python-headless", "pyzmq", "onnxruntime", "openvino", "torch")
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions,
        "gpu": "not measured",
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
