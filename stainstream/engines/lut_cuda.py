"""A table look-up on an NVIDIA GPU, by a kernel that is compiled for it at first use."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator
from typing import Annotated

import msgspec
import numpy as np

from stainstream.color.lut import Lut, colors_of, index_of
from stainstream.config import Settings
from stainstream.errors import EngineError
from stainstream.frame import RGB8

from .base import Artifact, Engine
from .cubin import THREADS, kernels
from .gpu import Gpu
from .gpu_queue import Queue
from .lane import GpuLane
from .onboard import check_pair, handle_of, onboard
from .ring import Ring

__all__ = ["LutCuda"]

_CHUNK = 1 << 20  # pixels of a large frame that travel together: copies in, look-ups and copies out then overlap
_MOST = 1 << 30  # pixels a launch; the kernels count in 32 bits
_KERNELS = {16: "lut16", 4: "lut4", 1: "lut1"}
"""By the pixels that a thread takes."""
_TYPES = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32)


class LutCuda(Engine):
    """Looks every pixel up in the GPU's memory.

    Frames of the host travel through a ring of slots, each with a queue and memory of its own; a size that comes again
    is replayed as a graph, one call a frame. Arrays that lie on the GPU already are normalized where they are.
    """

    class Options(Settings, frozen=True):
        """What can be set."""

        device: Annotated[int, msgspec.Meta(ge=0)] = 0
        """Which GPU, counted from 0."""
        slots: Annotated[int, msgspec.Meta(ge=1, le=16)] = 3
        """Frames under way at a time."""

    options: Options

    def __init__(self, artifact: Artifact, threads: int | None = None, options: Settings | None = None) -> None:
        super().__init__(artifact, threads, options)
        assert isinstance(artifact, Lut)
        self._lut = artifact
        self._gpu: Gpu | None = None
        self._table: _Table | None = None
        self._ring: Ring | None = None
        self._queue: Queue | None = None

    @classmethod
    def incompatible(cls, artifact: Artifact) -> str | None:
        return None if isinstance(artifact, Lut) else "it is not pixelwise, so it has no table"

    @property
    def detail(self) -> str:
        return f"{self._gpu.name if self._gpu else 'GPU'}, {self.options.slots} slots"

    @property
    def depth(self) -> int:
        return self.options.slots

    @property
    def pins(self) -> bool:
        return True

    def buffer(self, height: int, width: int) -> RGB8:
        if self._gpu is None:
            return super().buffer(height, width)
        return self._gpu.pinned(height, width, 3)

    def _open(self) -> None:
        gpu = self._gpu = Gpu(self.options.device)
        self._table = _Table(gpu, self._lut)
        self._queue = Queue(gpu)
        self._ring = Ring([GpuLane(gpu, self._table) for _ in range(self.options.slots)], gpu)
        self._prove()

    def _close(self) -> None:
        if self._ring is not None:
            self._ring.close()
        if self._queue is not None:
            self._queue.close()
        if self._table is not None:
            self._table.close()
        self._ring = self._queue = self._table = None

    def _prove(self) -> None:
        """Compare each kernel with the table on the host: a driver or a GPU that computes wrongly shall not run."""
        gpu, table, queue = self._opened()
        image = np.random.default_rng(0).integers(0, 256, (5003, 3), np.uint8)
        expected = colors_of(np.take(self._lut.table, index_of(image)))
        found = np.empty_like(image)
        address = gpu.allocate(image.nbytes + 1)
        try:
            for group in _KERNELS:
                start = address + (group == 1)
                with gpu.current():
                    queue.copy_in(start, image)
                    table.look_up(queue, start, start, len(image), group)
                    queue.copy_out(found, start)
                    queue.wait()
                if not np.array_equal(found, expected):
                    raise EngineError(f"cannot use {gpu.name}", "its results differ from the table's")
        finally:
            gpu.free(address)

    def _opened(self) -> tuple[Gpu, _Table, Queue]:
        if self._gpu is None or self._table is None or self._queue is None:
            raise EngineError("cannot finish a frame", "the engine was closed by another thread")
        return self._gpu, self._table, self._queue

    def _run(self, rgb: RGB8, out: RGB8) -> None:
        ring = self._ring
        if ring is None:
            raise EngineError("cannot finish a frame", "the engine was closed by another thread")
        ring.run(_parts(rgb, out))

    def _start(self, rgb: RGB8, out: RGB8) -> Callable[[], None]:
        ring = self._ring
        if ring is None or rgb.size > 3 * _CHUNK:  # a large frame overlaps with itself
            self._run(rgb, out)
            return lambda: None
        return ring.start(rgb, out)

    def _onboard(self, image: object, out: object, stream: object) -> None:
        gpu, table, queue = self._opened()
        handle = queue.handle if stream is None else handle_of(stream)
        with gpu.current():
            source = onboard("the image", image, gpu.ordinal, handle)
            target = source if out is image else onboard("out", out, gpu.ordinal, handle)
            check_pair(source, target)
            where = queue if stream is None else Queue(gpu, handle)
            table.look_up(where, source.address, target.address, source.size // 3)
            if stream is None:
                queue.wait()


def _parts(rgb: RGB8, out: RGB8) -> Iterator[tuple[RGB8, RGB8]]:
    """Pieces that travel on their own; no pixel needs another."""
    source, target = rgb.reshape(-1, 3), out.reshape(-1, 3)
    for first in range(0, len(source), _CHUNK):
        yield source[first : first + _CHUNK], target[first : first + _CHUNK]


class _Table:
    """The table in the GPU's memory, and the kernels that look pixels up in it."""

    in_place, warm, forgets = True, 1, False

    def __init__(self, gpu: Gpu, lut: Lut) -> None:
        self._gpu = gpu
        self._kernels = dict(zip(_KERNELS, kernels(gpu, *_KERNELS.values()), strict=True))
        self._few = 2 * 16 * THREADS["lut16"] * gpu.processors
        words = np.ascontiguousarray(lut.table) & np.uint32(0xFFFFFF)
        self._address = gpu.allocate(words.nbytes)
        gpu.put(self._address, words)

    def enqueue(self, queue: Queue, source: int, target: int, shape: tuple[int, ...]) -> None:
        self.look_up(queue, source, target, math.prod(shape) // 3)

    def look_up(self, queue: Queue, source: int, target: int, pixels: int, group: int | None = None) -> None:
        """Look `pixels` packed pixels at address `source` up into `target`, which is the same or apart.

        Parameters
        ----------
        group
            How many pixels a thread takes; by default as many as the addresses and the number of pixels make sensible.
        """
        for first in range(0, pixels, _MOST):
            begin, end = source + 3 * first, target + 3 * first
            self._launch(queue, begin, end, min(_MOST, pixels - first), group)

    def _launch(self, queue: Queue, source: int, target: int, pixels: int, group: int | None) -> None:
        if group is None:
            most = 4 if pixels < self._few else 16
            group = next(each for each in _KERNELS if each <= most and (source - target) % each == 0)
        # Pixels before the first whose address is a multiple of `group`: 11 is the inverse of 3, modulo 16 and 4.
        head = min(pixels, -source * 11 % group)
        threads = (pixels - head) // group + (pixels - head) % group + head
        name = _KERNELS[group]
        blocks = -(-threads // THREADS[name])
        values = (source, target, self._address, pixels, head)
        queue.launch(self._kernels[group], blocks, THREADS[name], (values, _TYPES))

    def close(self) -> None:
        """Give the memory back."""
        self._gpu.free(self._address)
