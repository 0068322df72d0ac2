"""Every way that a table can be looked up here, and what each must give."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stainstream.color.lut import COLORS, Lut
from stainstream.engines import TABLE, Engine
from stainstream.engines.kernels import KERNELS
from stainstream.engines.lut_numba import LutNumba
from stainstream.engines.net_onnx import NetOnnx
from stainstream.frame import RGB8

__all__ = ["KINDS", "all_colors", "looked_up", "scrambled"]


def _forced(forced: Callable[[int, int, int, int], None]) -> type[Engine]:
    """`LutNumba` with one of its kernels, whichever is faster here."""

    class Forced(LutNumba):
        def _open(self) -> None:
            super()._open()
            self._kernel = forced

    return Forced


def _kinds() -> dict[str, type[Engine]]:
    installed = {row.name: row.load() for row in TABLE if row.missing is None}
    tables = {name: kind for name, kind in installed.items() if kind is not NetOnnx}
    return tables | {f"lut_numba {kernel.__name__}": _forced(kernel) for kernel in KERNELS}


KINDS = _kinds()
"""Each table engine that is installed, and each kernel of `LutNumba` by itself."""


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
