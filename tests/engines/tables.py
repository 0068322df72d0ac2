"""Every way that a table can be looked up here, and what each must give."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from stainstream.color.lut import COLORS, Lut
from stainstream.engines import TABLE, Engine
from stainstream.engines.kernels import KERNELS
from stainstream.engines.lut_numba import LutNumba
from stainstream.frame import RGB8

__all__ = ["EVERY", "KINDS", "all_colors", "looked_up", "scrambled"]


def _forced(forced: Callable[[int, int, int, int], None]) -> type[Engine]:
    """`LutNumba` with one of its kernels, whichever is faster here."""

    class Forced(LutNumba):
        def _open(self) -> None:
            super()._open()
            self._kernel = forced

    return Forced


_ROWS = [row for row in TABLE if row.name.startswith("lut") and row.missing is None]
_FORCED = {f"lut_numba {kernel.__name__}": _forced(kernel) for kernel in KERNELS}

KINDS = {row.name: row.load() for row in _ROWS if row.lacking is None} | _FORCED
"""Each table engine that works here, and each kernel of `LutNumba` by itself."""

EVERY = [
    *(pytest.param(row.name, marks=[pytest.mark.gpu] if row.hardware else []) for row in _ROWS),
    *_FORCED,
]
"""The same, for `pytest.mark.parametrize`; those that need a GPU are skipped where there is none."""


def scrambled() -> Lut:
    """A table in which each color becomes another without rhyme or reason."""
    return Lut(np.random.default_rng(0).integers(0, COLORS, COLORS, np.uint32), "scrambled")


def all_colors() -> RGB8:
    """Every color once: shape (4096, 4096, 3), in the order of a `Table`."""
    levels = np.arange(256, dtype=np.uint8)
    colors = np.empty((256, 256, 256, 3), np.uint8)
    colors[..., 0], colors[..., 1], colors[..., 2] = levels, levels[:, None], levels[:, None, None]
    return colors.reshape(4096, 4096, 3)


def looked_up(lut: Lut, rgb: RGB8) -> RGB8:
    """What the table says, spelled out."""
    red, green, blue = (rgb[..., k].astype(int) for k in range(3))
    words = np.asarray(lut.table)[red + 256 * green + 65536 * blue]
    return np.stack([words % 256, words // 256 % 256, words // 65536 % 256], axis=-1).astype(np.uint8)
