"""A row of figures of a GPU, and how its times are taken."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from stainstream.engines import Engine
from stainstream.engines.gpu import Gpu
from stainstream.frame import RGB8

from .rows import PAPER_FPS

__all__ = ["NOT_MEASURED", "PAPER_GENERATOR_FPS", "Bench", "GpuRow", "bursts", "filled", "missed", "one_by_one"]

PAPER_GENERATOR_FPS = 19.6
NOT_MEASURED = "not measured"
_MOST_CALLS = 20_000


class GpuRow(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement on a GPU; where there was none, what was to be measured, and why it was not."""

    bench: str
    """``copy``: the device's own copy of the same frames; ``device``: frames that lie on the GPU; ``host``: host frame
    in, host frame out, several under way; ``latency``: one host frame at a time."""
    engine: str
    network: str
    """``StainNet``, ``StainGAN generator``, or ``none``."""
    batch: int
    """Frames of 512x512 a call."""
    slots: int
    """Frames under way at a time."""
    input: str
    status: str = "measured"
    """``"measured"``, or ``"not measured"``."""
    reason: str = ""
    fps: float | None = None
    """Frames a second, each burst synchronized inside the timed region."""
    gb_per_s: float | None = None
    """Bytes read and written."""
    us_p50: float | None = None
    us_p99: float | None = None
    us_p999: float | None = None
    """Time of a call, in us: of a burst of calls without waiting in between divided by their number, or of a call by
    itself (`latency`)."""
    vs_copy: float | None = None
    """Frames a second over those of the device's own copy, in the same run."""
    vs_paper: float | None = None
    """`fps` over the paper's 881.8 (StainNet) or 19.6 (StainGAN)."""
    differs: float | None = None
    """Share of values that differ from the exact table, or from ONNX Runtime on the processor."""
    largest: int | None = None
    """By how many levels they differ at most."""


@dataclass
class Bench:
    """What all measurements share."""

    gpu: Gpu
    model: str
    seconds: float
    cases: dict[str, RGB8]
    generator: Path | None
    copies: dict[int, float] = field(default_factory=dict)
    """Frames a second of a plain copy, by batch."""


def missed(row: GpuRow, reason: str) -> GpuRow:
    """The row, which could not be measured, and why."""
    return msgspec.structs.replace(row, status=NOT_MEASURED, reason=reason)


def bursts(call: Callable[[int], object], wait: Callable[[], None], seconds: float) -> list[float]:
    """Seconds of a call: of bursts that end when their work is done, of about a fiftieth of the time each."""
    for k in range(3):
        call(k)
    wait()
    count, taken = 1, [0.0]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(taken) < 6:
        start = time.perf_counter()
        for k in range(count):
            call(k)
        wait()
        spent = time.perf_counter() - start
        taken.append(spent / count)
        if spent < seconds / 50:
            count, taken = min(2 * count, _MOST_CALLS), [0.0]
            end = max(end, time.perf_counter() + seconds / 2) if count < _MOST_CALLS else end
    return taken[1:]


def one_by_one(engine: Engine, source: RGB8, target: RGB8, seconds: float) -> list[float]:
    """Seconds of each call by itself."""
    for _ in range(50):
        engine(source, target)
    taken: list[float] = []
    end = time.perf_counter() + 2 * seconds
    while time.perf_counter() < end or len(taken) < 100:
        start = time.perf_counter()
        engine(source, target)
        taken.append(time.perf_counter() - start)
    return taken


def filled(row: GpuRow, seconds: Sequence[float], bench: Bench, **known: Any) -> GpuRow:
    """The row with what its calls took, in seconds each, and whatever else is known."""
    p50, p99, p999 = (float(each) for each in np.percentile(np.array(seconds) * 1e6, [50, 99, 99.9]))
    fps = 1e6 * row.batch / p50
    paper = PAPER_GENERATOR_FPS if row.network == "StainGAN generator" else PAPER_FPS
    copy = bench.copies.get(row.batch) if row.bench == "device" else None
    return msgspec.structs.replace(
        row,
        fps=round(fps, 1),
        us_p50=round(p50, 2),
        us_p99=round(p99, 2),
        us_p999=round(p999, 2),
        gb_per_s=round(2 * fps * math.prod((512, 512, 3)) / 1e9, 2),
        vs_copy=round(fps / copy, 3) if copy else None,
        vs_paper=None if row.network == "none" else round(fps / paper, 2),
        **known,
    )
