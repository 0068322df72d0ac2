"""``.cube`` files: tables of a few colors, between which video tools interpolate."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stainstream.errors import ModelError

from .lut import Colors

__all__ = ["SIZES", "Cube"]

SIZES = range(2, 257)
"""How many points a side may have."""

_CORNERS = [(r, g, b) for r in (0, 1) for g in (0, 1) for b in (0, 1)]
_LARGEST_FILE = 1 << 30  # bytes: 256^3 rows of 60

Triple = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Cube:
    """A pixelwise method, known at points of a grid; called with colors, it interpolates trilinearly.

    Source: Adobe, Cube LUT Specification, version 1.0, 2013.
    """

    values: NDArray[np.float64]
    """Shape (n, n, n, 3): the color, nominally in [0, 1], at [red, green, blue]."""
    name: str
    low: Triple = (0.0, 0.0, 0.0)
    """The color at [0, 0, 0]."""
    high: Triple = (1.0, 1.0, 1.0)
    """The color at [n - 1, n - 1, n - 1]; colors beyond are mapped as the nearest within."""

    @property
    def size(self) -> int:
        """How many points a side has."""
        return len(self.values)

    def __call__(self, rgb: Colors) -> Colors:
        """Map colors of shape (..., 3) to the same shape."""
        low, high = np.asarray(self.low), np.asarray(self.high)
        flat = (rgb.reshape(-1, 3) - low) / (high - low)
        position = np.clip(flat, 0.0, 1.0) * (self.size - 1)
        cell = np.minimum(position.astype(np.intp), self.size - 2)
        after = position - cell
        weights, steps = (1.0 - after, after), np.array([self.size**2, self.size, 1])
        points, first = self.values.reshape(-1, 3), cell @ steps
        result: Colors = np.zeros_like(position)
        for corner in _CORNERS:
            weight = weights[corner[0]][:, 0] * weights[corner[1]][:, 1] * weights[corner[2]][:, 2]
            result += weight[:, None] * points[first + np.dot(corner, steps)]
        return result.reshape(rgb.shape)

    @classmethod
    def sample(cls, normalizer: Callable[[Colors], Colors], size: int, name: str) -> Cube:
        """Evaluate a pixelwise method at `size` points a side; what leaves [0, 1] is clipped.

        Raises
        ------
        ModelError
            If `size` is not one of `SIZES`, or the method gives something that is not a number.
        """
        if size not in SIZES:
            raise ModelError(f"cannot make a cube of {size} points", f"from {SIZES[0]} to {SIZES[-1]} are allowed")
        axis = np.linspace(0.0, 1.0, size)
        planes = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
        with np.errstate(all="ignore"):  # what is not a number is refused below
            values = np.stack([normalizer(plane) for plane in planes])
        if not np.isfinite(values).all():
            raise ModelError(f"cannot make a cube of {name!r}", "it gives no number for some color")
        return cls(np.clip(values, 0.0, 1.0), name)

    def text(self, comments: Iterable[str] = ()) -> str:
        """What a ``.cube`` file of it holds, with `comments` in its head."""
        head = [f"# {' '.join(each.split())}" for each in comments]
        title = " ".join(self.name.replace('"', "'").split())
        head += [f'TITLE "{title}"', f"LUT_3D_SIZE {self.size}"]
        head += [f"{key} {_row(value)}" for key, value in (("DOMAIN_MIN", self.low), ("DOMAIN_MAX", self.high))]
        rows = self.values.transpose(2, 1, 0, 3).reshape(-1, 3)  # red changes fastest
        return "\n".join([*head, *map(_row, rows.tolist()), ""])

    @classmethod
    def parse(cls, text: str, name: str = "") -> Cube:
        """Read the text of a ``.cube`` file of three dimensions.

        Parameters
        ----------
        name
            For one without a title.

        Raises
        ------
        ModelError
            If it is not what it should be; the line is named.
        """
        lines = [(at, line.strip()) for at, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1)]
        lines = [(at, line) for at, line in lines if line and not line.startswith("#")]
        start = next((k for k, (_, line) in enumerate(lines) if line[0] in "+-.0123456789"), len(lines))
        head = _Head(lines[:start])
        last = lines[-1][0] if lines else 1
        if not head.size:
            raise _wrong(last, "there is no LUT_3D_SIZE")
        if (count := len(lines) - start) != head.size**3:
            raise _wrong(last, f"there are {count} colors instead of {head.size}^3 = {head.size**3}")
        values = np.array([_floats(at, line.split(), 3) for at, line in lines[start:]])
        values = values.reshape(head.size, head.size, head.size, 3).transpose(2, 1, 0, 3)
        return cls(np.ascontiguousarray(values), head.title or name, head.low, head.high)

    @classmethod
    def read(cls, path: Path) -> Cube:
        """Read a ``.cube`` file; see `parse`.

        Raises
        ------
        ModelError
            If the file is missing or not what it should be.
        """
        try:
            whole = path.stat().st_size <= _LARGEST_FILE
            text = path.read_text("utf-8", "replace") if whole else ""
        except OSError as error:
            raise ModelError(f"cannot read {path}", error.strerror or str(error)) from error
        if not whole:
            raise ModelError(f"cannot read {path}", f"it is larger than any cube ({_LARGEST_FILE} bytes)")
        try:
            return cls.parse(text, path.stem)
        except ModelError as error:
            raise ModelError(f"cannot use {path}", str(error)) from error


class _Head:
    """The keywords before the colors."""

    def __init__(self, lines: Sequence[tuple[int, str]]) -> None:
        self.size, self.title = 0, ""
        self.low, self.high = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        at = 1
        for at, line in lines:
            keyword, *values = line.split()
            self._take(at, keyword, line[len(keyword) :].strip(), values)
        if any(low >= high for low, high in zip(self.low, self.high, strict=True)):
            raise _wrong(at, f"the domain from {list(self.low)} to {list(self.high)} is empty")

    def _take(self, at: int, keyword: str, rest: str, values: list[str]) -> None:
        match keyword:
            case "TITLE":
                self.title = rest.strip('"')
            case "LUT_3D_SIZE":
                self.size = int(rest) if re.fullmatch("[0-9]{1,3}", rest) else 0
                if self.size not in SIZES:
                    raise _wrong(at, f"LUT_3D_SIZE is {rest[:40]!r}, not a number from {SIZES[0]} to {SIZES[-1]}")
            case "DOMAIN_MIN":
                self.low = _triple(at, values)
            case "DOMAIN_MAX":
                self.high = _triple(at, values)
            case "LUT_3D_INPUT_RANGE":  # DaVinci Resolve's way to give the domain
                low, high = _floats(at, values, 2)
                self.low, self.high = (low, low, low), (high, high, high)
            case "LUT_1D_SIZE" | "LUT_1D_INPUT_RANGE":
                raise _wrong(at, "it is a table of one dimension, and three are needed")
            case _:
                raise _wrong(at, f"unknown keyword {keyword[:40]!r}")


def _floats(at: int, values: Sequence[str], count: int) -> list[float]:
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise _wrong(at, f"{' '.join(values)[:80]!r} is not {count} numbers")
    return numbers


def _triple(at: int, values: Sequence[str]) -> Triple:
    red, green, blue = _floats(at, values, 3)
    return red, green, blue


def _row(values: Iterable[Any]) -> str:
    return " ".join(f"{value:.7f}" for value in values)


def _wrong(line: int, reason: str) -> ModelError:
    return ModelError(f"line {line} is wrong", reason)
