"""Exact tables of all 256^3 colors."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from stainstream.errors import ModelError
from stainstream.frame import RGB8

__all__ = ["COLORS", "Colors", "Drafting", "Lut", "Rounding", "Table", "bake", "colors_of", "index_of", "quantize"]

Colors: TypeAlias = NDArray[np.floating[Any]]
"""RGB in [0, 1], of shape (..., 3)."""

Table: TypeAlias = NDArray[np.uint32]
"""256^3 words: the color (r, g, b) at index r | g << 8 | b << 16 becomes (R, G, B) of the word R | G << 8 | B << 16.

The index of a pixel is thus its three bytes read as a little-endian number.
"""

Rounding: TypeAlias = Literal["nearest", "truncate"]
"""How levels become integers: to the nearest (halves to even), or down, as the paper's code does."""

COLORS = 1 << 24
_CHUNK = 1 << 11  # 32 hidden channels of float64 are 512 KiB, which stay in the cache of one core
_DRAFT = 1 << 14  # colors that are drafted at once
_SAMPLED = 1021  # every so many colors tell how far a draft is off; a prime, so that all levels occur
_DOUBT, _TIMES = 1e-3, 16  # levels from where rounding changes: at least, and times the greatest error that was found
_USELESS = 0.3  # of the colors in doubt: more of them save nothing


def quantize(colors: Colors, rounding: Rounding = "nearest") -> RGB8:
    """Turn colors in [0, 1] into bytes; the one place where clipping and rounding happen.

    Parameters
    ----------
    colors
        Any shape; values outside [0, 1] are clipped.
    rounding
        ``"nearest"`` (halves to even) or ``"truncate"``.

    Examples
    --------
    >>> quantize(np.array([-1.0, 0.499, 0.5, 2.0])).tolist()
    [0, 127, 128, 255]
    """
    levels = np.clip(colors, 0.0, 1.0) * 255.0
    # A cast of a non-negative float truncates.
    whole: RGB8 = (np.rint(levels) if rounding == "nearest" else levels).astype(np.uint8)
    return whole


def index_of(rgb: RGB8) -> NDArray[np.uint32]:
    """Index of each pixel in a `Table`: shape (..., 3), uint8, to shape (...)."""
    wide = rgb.astype(np.uint32)
    return np.asarray(wide[..., 0] | wide[..., 1] << 8 | wide[..., 2] << 16, np.uint32)


def colors_of(words: NDArray[np.uint32]) -> RGB8:
    """Bytes of table words or indices: shape (...) to shape (..., 3), uint8."""
    return np.ascontiguousarray(words, "<u4").view(np.uint8).reshape(*words.shape, 4)[..., :3]


@dataclass(frozen=True, eq=False)
class Lut:
    """A pixelwise method as the exact table of what it does to each of the 256^3 colors."""

    table: Table
    """Shape (16,777,216), read-only; see `Table` for the order."""
    name: str
    """The method or model that was baked."""

    def __post_init__(self) -> None:
        if self.table.shape != (COLORS,) or self.table.dtype != np.uint32:
            raise ModelError(
                f"table {self.name!r} is {self.table.dtype}{list(self.table.shape)}",
                f"it must be uint32[{COLORS}]",
            )
        self.table.flags.writeable = False

    @property
    def data(self) -> memoryview:
        """The table's little-endian bytes."""
        return np.ascontiguousarray(self.table, "<u4").data.cast("B")

    @cached_property
    def digest(self) -> str:
        """SHA-256 of `data`, in hex: two tables with one digest do the same."""
        return hashlib.sha256(self.data).hexdigest()


@runtime_checkable
class Drafting(Protocol):
    """A map that can also be computed in float32, which `bake` makes use of."""

    def __call__(self, rgb: Colors) -> Colors:
        """Map colors of shape (n, 3) in [0, 1], in float64."""

    def draft(self, rgb: Colors) -> Colors:
        """The same in float32, right but for errors of rounding; not a number where it does not know."""


def bake(
    normalizer: Callable[[Colors], Colors],
    name: str,
    rounding: Rounding = "nearest",
    threads: int | None = None,
    between: Callable[[], object] = lambda: None,
) -> Lut:
    """Evaluate `normalizer` in float64 for every color.

    If it is `Drafting`, then float32 decides where it leaves no doubt about the levels, and float64 for a few in a
    thousand colors. How far float32 is off is measured on 16,433 colors; whatever is within 16 times as much of where a
    level changes, and within 1/1000 of a level at least, is in doubt.

    Parameters
    ----------
    normalizer
        Maps float64 colors of shape (n, 3) to the same shape, each row on its own.
    name
        Name of the table.
    rounding
        How levels become integers.
    threads
        How many chunks to evaluate at once; all processors by default.
    between
        Called now and then; what it raises ends the baking.

    Raises
    ------
    ModelError
        If the method gives something that is not a number.
    """
    from threadpoolctl import threadpool_limits

    table = np.empty(COLORS, np.uint32)

    def exact(words: Table) -> Colors:
        between()
        with np.errstate(all="ignore"):  # what is not a number is refused here
            result = normalizer(_colors(words, np.float64))
        if not np.isfinite(result).all():
            at = colors_of(words)[~np.isfinite(result).all(axis=-1)][0].tolist()
            raise ModelError(f"cannot bake {name!r}", f"it gives no number for the color {at}")
        return result

    def fill(words: Table) -> None:
        table[words] = index_of(quantize(exact(words), rounding))

    # One BLAS thread a chunk: its own threads cost more than they bring on products this thin.
    with threadpool_limits(1, "blas"), _mapping(threads) as run:
        left = np.arange(COLORS, dtype=np.uint32)
        if isinstance(normalizer, Drafting):
            sketch = _Draft.of(normalizer, exact, rounding)

            def draft(words: Table) -> Table:
                between()
                table[words[0] : words[-1] + 1], doubtful = sketch.fill(words)
                return words[doubtful]

            if sketch.useful:
                left = np.concatenate(list(run(draft, _chunks(left, _DRAFT))))
        list(run(fill, _chunks(left, _CHUNK)))
    return Lut(table, name)


@dataclass(frozen=True, eq=False)
class _Draft:
    """A table from float32, as far as that is beyond doubt."""

    normalizer: Drafting
    rounding: Rounding
    doubt: float
    """How near to where rounding changes nothing is certain, in [0, 1]."""

    @classmethod
    def of(cls, normalizer: Drafting, exact: Callable[[Table], Colors], rounding: Rounding) -> _Draft:
        """Compare some colors with what is exact."""
        words = np.arange(0, COLORS, _SAMPLED, dtype=np.uint32)
        with np.errstate(all="ignore"):
            rough = normalizer.draft(_colors(words, np.float32))
            errors = np.abs(np.clip(rough, 0.0, 1.0) - np.clip(exact(words), 0.0, 1.0))
        doubt = max(_DOUBT / 255.0, _TIMES * float(errors[np.isfinite(errors)].max(initial=0.0)))
        return cls(normalizer, rounding, doubt)

    @property
    def useful(self) -> bool:
        """Whether it is certain of many colors."""
        _, doubtful = self.fill(np.arange(0, COLORS, _SAMPLED, dtype=np.uint32))
        return float(doubtful.mean()) < _USELESS

    def fill(self, words: Table) -> tuple[Table, NDArray[np.bool_]]:
        """What becomes of these colors, and which of them are in doubt."""
        with np.errstate(all="ignore"):
            result = self.normalizer.draft(_colors(words, np.float32))
            low, high = (index_of(quantize(result + by, self.rounding)) for by in (-self.doubt, self.doubt))
        return low, (low != high) | ~np.isfinite(result).all(axis=-1)


def _colors(words: Table, precision: type[np.floating[Any]]) -> Colors:
    """Shape (n, 3), in [0, 1]; each channel lies in one piece, which is faster for all that follows."""
    return np.asarray(np.divide(colors_of(words).T, precision(255.0), dtype=precision, order="C").T)


def _chunks(words: Table, size: int) -> Iterable[Table]:
    return [words[start : start + size] for start in range(0, len(words), size)]


@contextmanager
def _mapping(threads: int | None) -> Iterator[Callable[..., Iterable[Any]]]:
    """What does something with each of many things on so many threads."""
    if threads == 1:  # on this very thread, so that its priority holds, and nobody waits while tasks are handed out
        yield map
    else:
        with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
            yield pool.map
