"""A table look-up compiled for this very processor, by numba."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial

import numpy as np
from numpy.typing import NDArray

from stainstream.color.cache import cached
from stainstream.color.lut import COLORS, Lut
from stainstream.config import Settings
from stainstream.errors import EngineError
from stainstream.frame import RGB8

from . import kernels
from .base import Artifact, Engine
from .helper import Helper

__all__ = ["LutNumba"]

_CELLS = "cells 1"  # part of the cache's key: to be raised when the order changes
_LEAST = 1 << 16  # pixels of a frame that another thread is worth while for
_SPLIT = 1 << 19  # pixels; handing a part of a smaller frame to another thread costs more than it brings


class LutNumba(Engine):
    """Looks every pixel up in a copy of the table whose order keeps neighboring colors in one cache line.

    Two kernels stand ready, since processors differ: ``gather`` uses the vector unit's gather instruction, ``scatter``
    computes indices in vectors and loads one by one. The faster one here is found out when the engine opens.
    """

    class Options(Settings, frozen=True, kw_only=True):
        """What can be set."""

        mapped: bool = False
        """Map the copy from a file in the cache, so that processes that do the same hold it once."""

    options: Options

    def __init__(self, artifact: Artifact, threads: int | None = None, options: Settings | None = None) -> None:
        super().__init__(artifact, threads, options)
        assert isinstance(artifact, Lut)
        self._lut = artifact
        self._cells: NDArray[np.uint32] = np.empty(0, np.uint32)
        self._address = 0
        self._kernel: Callable[[int, int, int, int], None] = kernels.gather
        self._pool: ThreadPoolExecutor | None = None
        self._helper: Helper | None = None

    @classmethod
    def incompatible(cls, artifact: Artifact) -> str | None:
        return None if isinstance(artifact, Lut) else "it is not pixelwise, so it has no table"

    @property
    def detail(self) -> str:
        return f"{super().detail}, {self._kernel.__name__} kernel"

    def _open(self) -> None:
        if not self._cells.size:  # kept when closing: a call on another thread may still be reading it
            self._cells = self._mapped() if self.options.mapped else self._ordered()
            self._address = self._cells.ctypes.data
        self._kernel = min(kernels.KERNELS, key=self._time)
        if self.threads > 1:
            self._pool = ThreadPoolExecutor(self.threads - 1, "lut_numba")
            self._helper = Helper("lut_numba")

    def _ordered(self) -> NDArray[np.uint32]:
        linear, cells = np.ascontiguousarray(self._lut.table), np.empty(COLORS, np.uint32)
        kernels.to_cells(linear.ctypes.data, cells.ctypes.data)
        return cells

    def _mapped(self) -> NDArray[np.uint32]:
        key = hashlib.sha256(f"{_CELLS} {self._lut.digest}".encode()).hexdigest()
        return cached(key, f"{self._lut.name} in cells", lambda: Lut(self._ordered(), self._lut.name)).table

    def _close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        helper, self._helper = self._helper, None
        if helper is not None:
            helper.close()

    @property
    def depth(self) -> int:
        return 1 if self.threads == 1 else 2

    def _time(self, kernel: Callable[[int, int, int, int], None]) -> float:
        """Best of five runs over smooth colors, in seconds; the whole choice takes about a millisecond."""
        ramp = (np.arange(1 << 14) * 3 >> 6).astype(np.uint8)
        image = np.stack([ramp, ramp[::-1], ramp], axis=-1)
        out = np.empty_like(image)
        best = float("inf")
        for _ in range(5):
            start = time.perf_counter()
            kernel(image.ctypes.data, out.ctypes.data, self._address, len(image))
            best = min(best, time.perf_counter() - start)
        return best

    def _start(self, rgb: RGB8, out: RGB8) -> Callable[[], None]:
        helper, pixels = self._helper, rgb.size // 3
        if helper is None or not _LEAST <= pixels < 2 * _SPLIT:
            return super()._start(rgb, out)
        return helper.begin(partial(self._part, rgb, out, 0, pixels))

    def _run(self, rgb: RGB8, out: RGB8) -> None:
        pool, pixels = self._pool, rgb.size // 3
        parts = min(self.threads, pixels // _SPLIT)
        if parts < 2 or pool is None:
            self._part(rgb, out, 0, pixels)
            return
        step = -(-pixels // parts)
        try:
            waiting = [
                pool.submit(self._part, rgb, out, first, min(step, pixels - first))
                for first in range(step, pixels, step)
            ]
        except RuntimeError as error:
            raise EngineError("cannot finish a frame", "the engine was closed by another thread") from error
        self._part(rgb, out, 0, step)
        wait(waiting)

    def _part(self, rgb: RGB8, out: RGB8, first: int, pixels: int) -> None:
        # Given arrays rather than addresses, so that they live on should the caller be interrupted while it waits.
        self._kernel(rgb.ctypes.data + 3 * first, out.ctypes.data + 3 * first, self._address, pixels)
