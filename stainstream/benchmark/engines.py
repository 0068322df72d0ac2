"""Engines beside a memory copy and beside other runtimes of the same network."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from stainstream.api import load, open_source
from stainstream.color.convert import to_rgb8
from stainstream.engines import TABLE
from stainstream.frame import RGB8
from stainstream.model import Model, find
from stainstream.sources.image import read_image

from .peers import Run, peers
from .rows import Row, row
from .timing import side_by_side

__all__ = ["SIZES", "engines", "frames"]

SIZES = {"512x512": (512, 512), "1920x1080": (1080, 1920), "3840x2160": (2160, 3840)}
_BATCH = 8
_COPY = "memory copy"


def frames(images: Sequence[Path]) -> Iterator[tuple[str, str, RGB8]]:
    """Size, name and pixels of each frame to measure on; files are cut to 512x512."""
    rng = np.random.default_rng(0)
    for size, (height, width) in SIZES.items():
        with open_source(f"demo?size={width}x{height}&rate=0") as source:
            yield size, "tissue", next(iter(source)).image
        yield size, "noise", rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    for path in images:
        frame = read_image(path)
        image = to_rgb8(frame.image, frame.format)[:512, :512]
        if image.shape == (512, 512, 3):
            yield "512x512", path.name, np.ascontiguousarray(image)


def engines(name: str, threads: int, images: Sequence[Path], seconds: float) -> Iterator[Row]:
    """Measure every engine on every frame, with one thread and with `threads`."""
    model = find(name)
    for size, content, image in frames(images):
        for count in sorted({1, threads}):
            with ExitStack() as stack:
                runs: dict[str, Run] = {_COPY: np.copy}
                for each in TABLE:
                    if each.name.startswith("lut"):
                        runs[each.name] = stack.enter_context(load(name, each.name, count)).engine
                everyone = runs | peers(model, count)
                if count == 1 and threads > 1:
                    yield from _stream(model, runs, threads, size, content, image, seconds)
                yield from _calls("single", model, everyone, count, size, content, image[None], seconds)
                if size == "512x512" and content in ("tissue", "noise"):
                    yield from _calls("batch", model, everyone, count, size, content, np.stack([image] * _BATCH), seconds)


def _calls(
    bench: str, model: Model, runs: Mapping[str, Run], threads: int, size: str, content: str, batch: RGB8, seconds: float
) -> Iterator[Row]:
    out = np.empty_like(batch)
    timings = side_by_side({name: _call(name, run, batch, out) for name, run in runs.items()}, seconds)
    copy = timings[_COPY].median / len(batch)
    for name, timing in timings.items():
        each = (timing.median / len(batch), timing.q1 / len(batch), timing.q3 / len(batch))
        yield row(
            bench=bench,
            method=model.name,
            engine=name,
            threads=threads,
            size=size,
            input=content,
            fps=1e3 / each[0],
            copy_ms=copy,
            ms=each,
        )


def _call(name: str, run: Run, batch: RGB8, out: RGB8) -> Callable[[], object]:
    if name == _COPY:
        return lambda: np.copyto(out, batch)
    if name.startswith("lut"):
        return lambda: run(batch, out)  # type: ignore[call-arg]
    return lambda: run(batch)


def _stream(
    model: Model, runs: Mapping[str, Run], threads: int, size: str, content: str, image: RGB8, seconds: float
) -> Iterator[Row]:
    """A stream of frames, `threads` of them under way at once, each on its own buffers."""
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(5):
        for name, run in runs.items():
            rates[name].append(_rate(name, run, image, threads, seconds / 5))
    quartiles = {name: np.percentile(1e3 / np.array(each), [50, 25, 75]) for name, each in rates.items()}
    copy = float(quartiles[_COPY][0])
    for name, (median, q1, q3) in quartiles.items():
        yield row(
            bench="stream",
            method=model.name,
            engine=name,
            threads=threads,
            size=size,
            input=content,
            fps=1e3 / float(median),
            copy_ms=copy,
            ms=(float(median), float(q1), float(q3)),
        )


def _rate(name: str, run: Run, image: RGB8, threads: int, seconds: float) -> float:
    """Frames a second of `threads` threads together."""

    def work(_: int) -> int:
        mine = image.copy()[None]
        call, done = _call(name, run, mine, np.empty_like(mine)), 0
        call()
        while time.perf_counter() < end:
            call()
            done += 1
        return done

    with ThreadPoolExecutor(threads) as pool:
        start = time.perf_counter()
        end = start + seconds
        done = sum(pool.map(work, range(threads)))
    return done / (time.perf_counter() - start)
