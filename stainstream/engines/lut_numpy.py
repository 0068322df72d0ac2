"""The reference: a table look-up in NumPy."""

from __future__ import annotations

import numpy as np

from stainstream.color.lut import Lut, colors_of, index_of
from stainstream.config import Settings
from stainstream.frame import RGB8

from .base import Artifact, Engine

__all__ = ["LutNumpy"]

_ROWS = 1 << 16  # pixels at a time, so that the indices of a large frame do not fill the memory


class LutNumpy(Engine):
    """Looks every pixel up with NumPy's own indexing; what all other table engines must equal."""

    def __init__(self, artifact: Artifact, threads: int | None = 1, options: Settings | None = None) -> None:
        super().__init__(artifact, 1 if threads is None else threads, options)
        assert isinstance(artifact, Lut)
        self._table = artifact.table

    @classmethod
    def incompatible(cls, artifact: Artifact) -> str | None:
        return None if isinstance(artifact, Lut) else "it is not pixelwise, so it has no table"

    @property
    def detail(self) -> str:
        return "1 thread"

    def _run(self, rgb: RGB8, out: RGB8) -> None:
        source, target = rgb.reshape(-1, 3), out.reshape(-1, 3)
        for start in range(0, len(source), _ROWS):
            part = slice(start, start + _ROWS)
            target[part] = colors_of(np.take(self._table, index_of(source[part])))
