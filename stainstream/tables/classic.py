"""The classic methods twice: as the paper runs them, estimated again in each frame, and fixed, as a table."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from stainstream.benchmark.classic import PEERS, Peer
from stainstream.color.histogram import ColorCounts
from stainstream.color.lut import quantize
from stainstream.errors import StainstreamError
from stainstream.frame import RGB8
from stainstream.normalizers import TABLE
from stainstream.normalizers.conventions import PROFILES
from stainstream.normalizers.fitted import Fitted

from .sets import Field

__all__ = ["NAMES", "Fastest", "each_frame", "fastest", "fixed", "peers"]

NAMES = {"reinhard": "Reinhard", "macenko": "Macenko", "vahadane": "Vahadane", "ruifrok": "Ruifrok"}
"""The methods of table 1, and of those before them."""

_TIMED = 3  # calls of which the quickest counts, to find the fastest package

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fastest:
    """The fastest public package for a method."""

    package: str
    fit: Callable[[RGB8], object]
    """To a target."""
    normalize: Callable[[RGB8], RGB8]
    """A frame, whose statistics are estimated in the call."""


def peers(target: RGB8) -> tuple[list[Peer], dict[str, str]]:
    """What is installed, fitted to a target; and why the others cannot be used, by their names."""
    found: list[Peer] = []
    absent: dict[str, str] = {}
    for package, (_, make) in PEERS.items():
        if find_spec(package) is None:
            absent[package] = "not installed"
            continue
        try:
            found += [each for each in make(target) if not each[0].endswith("cached")]
        except Exception as error:  # noqa: BLE001 - whatever another package raises is the row's content
            absent[package] = _said(error)
    return found, absent


def fastest(frame: RGB8, target: RGB8) -> dict[str, Fastest | str]:
    """By method, the public package that normalizes a frame in the least time here; or why there is none."""
    found, absent = peers(target)
    return {method: _fastest(method, frame, found, absent) for method in NAMES}


def _fastest(method: str, frame: RGB8, found: Sequence[Peer], others: Mapping[str, str]) -> Fastest | str:
    absent = dict(others)
    times: dict[str, float] = {}
    by: dict[str, Fastest] = {}
    for name, kind, fit, normalize in found:
        if kind != method:
            continue
        try:
            times[name] = min(_seconds(normalize, frame) for _ in range(_TIMED))
        except Exception as error:  # noqa: BLE001 - as above
            absent[name] = _said(error)
            continue
        by[name] = Fastest(name, fit, lambda image, run=normalize: _rgb(run(image)))  # type: ignore[misc]
    if not by:
        why = "; ".join(f"{name}: {reason}" for name, reason in absent.items())
        return f"no public package with {NAMES[method]} (of {', '.join(PEERS)}){'; ' if why else ''}{why}"
    _log.info("%s: %s", method, ", ".join(f"{name} {1e3 * spent:.1f} ms" for name, spent in times.items()))
    return by[min(times, key=lambda name: times[name])]


def _seconds(run: Callable[[RGB8], object], frame: RGB8) -> float:
    start = time.perf_counter()
    run(frame)
    return time.perf_counter() - start


def _rgb(result: Any) -> RGB8:
    """uint8 (height, width, 3) of what packages give: arrays and tensors, alone or the first of several."""
    image = np.asarray(result[0] if isinstance(result, tuple) else result)
    return np.ascontiguousarray(np.clip(image, 0, 255).astype(np.uint8))


def each_frame(method: str, profile: str) -> Callable[[RGB8, RGB8], RGB8]:
    """Ours in the paper's way: the frame's statistics estimated in it, the reference its own target.

    A frame of which nothing can be estimated stays as it is.
    """
    kind, settings = TABLE[method].load(), PROFILES[profile]

    def run(source: RGB8, target: RGB8) -> RGB8:
        try:
            fitted = kind.fit(source, target=target, profile=settings)
        except StainstreamError:
            return source
        return quantize(fitted(source / 255.0), fitted.rounding)

    return run


def fixed(method: str, trains: Sequence[Field], profile: str = "stream") -> Fitted[Any]:
    """Fixed statistics of all sources and all targets of other cases."""
    sides = [ColorCounts.gather([each.source for each in trains]), ColorCounts.gather([each.target for each in trains])]
    return TABLE[method].load().fit(sides[0], target=sides[1], profile=profile)


def _said(error: Exception) -> str:
    """What an exception says, in short and without paths of this machine."""
    return re.sub(r" ?\(?/\S+", "", f"{type(error).__name__}: {error}".splitlines()[0])[:120]
