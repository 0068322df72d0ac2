"""Frames a second, with and without reading and writing files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np

from stainstream.benchmark.timing import Timing, side_by_side
from stainstream.evaluation.evaluate import Method
from stainstream.frame import RGB8, Frame, PixelFormat
from stainstream.sinks.image import write_image
from stainstream.sources.image import read_image

from .figures import Figure
from .sets import Field, cut

__all__ = ["FRAME", "frames", "rates"]

FRAME = 512
"""Height and width of timed frames, in pixels: the paper's."""
_MOST = 8


def frames(fields: Sequence[Field]) -> list[tuple[RGB8, RGB8]]:
    """Frames to time on, with their targets: a few of 512x512, made of two mirrored tiles where images are smaller."""
    found = []
    for each in fields:
        source, target = (_grown(side) for side in (each.source, each.target))
        found += [(one, other) for one, other in cut(source, target, size=FRAME)]
    return found[:: max(1, len(found) // _MOST)][:_MOST]


def _grown(image: RGB8) -> RGB8:
    down, right = (max(0, FRAME - side) for side in image.shape[:2])
    return np.pad(image, ((0, down), (0, right), (0, 0)), mode="symmetric") if down or right else image


def rates(methods: Mapping[str, Method], given: Sequence[RGB8], seconds: float) -> dict[str, dict[str, Figure]]:
    """Frames a second of each method, by ``fps`` and ``fps_io``; all run in turns, one frame after the other.

    With I/O, each frame is read from a PNG file and the result written to one.

    Parameters
    ----------
    seconds
        How long to time each figure; a slow method is called three times all the same.
    """
    with tempfile.TemporaryDirectory(prefix="stainstream") as folder:
        files = []
        for number, frame in enumerate(given):
            files.append(Path(folder) / f"{number}.png")
            write_image(files[-1], Frame(frame, PixelFormat.RGB8))
        alone = {name: _turns(method, given) for name, method in methods.items()}
        with_io = {name: _files(method, files, Path(folder)) for name, method in methods.items()}
        without, including = side_by_side(alone, seconds), side_by_side(with_io, seconds)
    return {name: {"fps": _figure(without[name]), "fps_io": _figure(including[name])} for name in methods}


def _turns(method: Method, given: Sequence[RGB8]) -> Callable[[], object]:
    turn = cycle(given)
    return lambda: method(next(turn))


def _files(method: Method, files: Sequence[Path], folder: Path) -> Callable[[], object]:
    turn, out = cycle(files), folder / "out.png"

    def run() -> None:
        image = read_image(next(turn)).image
        write_image(out, Frame(method(image), PixelFormat.RGB8))

    return run


def _figure(timing: Timing) -> Figure:
    """Median and quartiles; of so few calls that there are none, all of them."""
    return Figure(value=1e3 / timing.median, n=timing.calls, low=1e3 / timing.q3, high=1e3 / timing.q1)
