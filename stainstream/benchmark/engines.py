"""Engines beside a memory copy and beside other runtimes of the same network."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stainstream.api import load, open_source
from stainstream.color.convert import to_rgb8
from stainstream.engines import TABLE
from stainstream.errors import UsageError
from stainstream.frame import RGB8
from stainstream.model import Model, find
from stainstream.sources.image import read_image

from .peers import Run, peers
from .rows import Row, row
from .timing import side_by_side

__all__ = ["SIZES", "Case", "cases", "engines"]

SIZES = {"512x512": (512, 512), "1920x1080": (1080, 1920), "3840x2160": (2160, 3840)}
_BATCH = 8
_TURNS = 5
_COPY = "memory copy"


@dataclass(frozen=True, slots=True)
class Case:
    """What to measure on."""

    size: str
    content: str
    image: RGB8


def cases(images: Sequence[Path], sizes: Sequence[str] = tuple(SIZES)) -> Iterator[Case]:
    """Tissue and noise of each of `sizes`, and 512x512 of each file."""
    rng = np.random.default_rng(0)
    for size in sizes:
        height, width = SIZES[size]
        with open_source(f"demo?size={width}x{height}&rate=0") as source:
            yield Case(size, "tissue", next(iter(source)).image)
        yield Case(size, "noise", rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    for path in images:
        frame = read_image(path)
        image = to_rgb8(frame.image, frame.format)[:512, :512]
        if image.shape != (512, 512, 3):
            raise UsageError(f"cannot measure on {path}", f"it is {frame.width}x{frame.height}, 512x512 are needed")
        yield Case("512x512", path.name, np.ascontiguousarray(image))


def engines(
    name: str, threads: int, images: Sequence[Path], seconds: float, sizes: Sequence[str] = tuple(SIZES)
) -> Iterator[Row]:
    """Measure every engine on every case, with one thread and with `threads`."""
    model = find(name)
    for case in cases(images, sizes):
        for count in sorted({1, threads}):
            with ExitStack() as stack:
                runs: dict[str, Run] = {_COPY: np.copy}
                for each in TABLE:
                    if each.name.startswith("lut") and not each.hardware:
                        runs[each.name] = stack.enter_context(load(name, each.name, count)).engine
                everyone = runs | peers(model, count)
                if count == 1 and threads > 1:
                    yield from _stream(model, runs, threads, case, seconds)
                yield from _calls("single", model, everyone, count, case, case.image[None], seconds)
                if case.size == "512x512" and case.content in ("tissue", "noise"):
                    yield from _calls("batch", model, everyone, count, case, np.stack([case.image] * _BATCH), seconds)


def _calls(
    bench: str, model: Model, runs: Mapping[str, Run], threads: int, case: Case, batch: RGB8, seconds: float
) -> Iterator[Row]:
    """Time calls with `batch`."""
    out = np.empty_like(batch)
    timings = side_by_side({name: _call(name, run, batch, out) for name, run in runs.items()}, seconds)
    copy = timings[_COPY].median / len(batch)
    for name, timing in timings.items():
        ms = (timing.median / len(batch), timing.q1 / len(batch), timing.q3 / len(batch))
        yield _row(bench, model, name, threads, case, ms, copy)


def _stream(model: Model, runs: Mapping[str, Run], threads: int, case: Case, seconds: float) -> Iterator[Row]:
    """A stream of frames, `threads` of them under way at once, each on buffers of its own."""
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(_TURNS):
        for name, run in runs.items():
            rates[name].append(_rate(name, run, case.image, threads, seconds / _TURNS))
    times = {name: np.percentile(1e3 / np.array(each), [50, 25, 75]) for name, each in rates.items()}
    for name, (median, q1, q3) in times.items():
        yield _row("stream", model, name, threads, case, (median, q1, q3), float(times[_COPY][0]))


def _row(
    bench: str, model: Model, engine: str, threads: int, case: Case, ms: tuple[float, float, float], copy: float
) -> Row:
    return row(
        bench=bench,
        method="none" if engine == _COPY else model.name,
        engine=engine,
        threads=threads,
        size=case.size,
        input=case.content,
        fps=1e3 / ms[0],
        copy_ms=copy,
        ms=ms,
    )


def _call(name: str, run: Run, batch: RGB8, out: RGB8) -> Callable[[], object]:
    if name == _COPY:
        return lambda: np.copyto(out, batch)
    if name.startswith("lut"):
        return lambda: run(batch, out)  # type: ignore[call-arg]
    return lambda: run(batch)


def _rate(name: str, run: Run, image: RGB8, threads: int, seconds: float) -> float:
    """Frames a second of `threads` threads together, all warmed up before the first one starts."""
    ready = threading.Barrier(threads)

    def work(_: int) -> float:
        mine = image.copy()[None]
        call, done = _call(name, run, mine, np.empty_like(mine)), 0
        call()
        ready.wait()
        start = time.perf_counter()
        while (spent := time.perf_counter() - start) < seconds or not done:
            call()
            done += 1
        return done / spent

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(work, range(threads)))
