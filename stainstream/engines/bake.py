"""A table baked on the GPU, in double precision as on the processor."""

from __future__ import annotations

import ctypes
import logging
from pathlib import Path

import numpy as np

from stainstream.color.lut import COLORS, Lut, colors_of, index_of, quantize
from stainstream.errors import StainstreamError
from stainstream.normalizers.chain import Chain, chain_of
from stainstream.normalizers.network import PixelwiseNetwork

from .cubin import THREADS, kernels
from .gpu import Gpu
from .gpu_queue import Queue

__all__ = ["bake_onboard"]

_log = logging.getLogger(__name__)

_SAMPLES = 1 << 14
_TYPES = (ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p)


def bake_onboard(path: Path, network: PixelwiseNetwork, gpu: Gpu) -> Lut | None:
    """Bake a network's table on `gpu`; some thousand of its colors are compared with `network` itself.

    Parameters
    ----------
    path
        The ONNX file that `network` was read from.

    Returns
    -------
    None where it cannot be done, or does not agree: `color.lut.bake` then does it, and names what is wrong.
    """
    try:
        chain = chain_of(path)
        table = None if chain is None else _baked(chain, network.rounding == "truncate", gpu)
    except StainstreamError as error:
        _log.debug("%s is baked on the processor: %s", network.name, error)
        return None
    if table is None or not _agrees(table, network):
        _log.debug("%s is baked on the processor: the GPU cannot, or does not agree", network.name)
        return None
    return Lut(table, network.name)


def _baked(chain: Chain, truncate: bool, gpu: Gpu) -> np.ndarray[tuple[int], np.dtype[np.uint32]] | None:
    """The table, or None if some color becomes no number."""
    (kernel,) = kernels(gpu, "bake")
    table, broken = np.empty(COLORS, np.uint32), np.zeros(1, np.uint32)
    held: list[int] = []
    queue = Queue(gpu)
    try:
        held.extend(gpu.allocate(array.nbytes) for array in (chain, table, broken))
        gpu.put(held[0], chain)
        gpu.put(held[2], broken)
        values = (held[0], len(chain), held[1], int(truncate), held[2])
        with gpu.current():
            queue.launch(kernel, COLORS // THREADS["bake"], THREADS["bake"], (values, _TYPES))
            queue.wait()
        gpu.get(table, held[1])
        gpu.get(broken, held[2])
    finally:
        queue.close()
        for address in held:
            gpu.free(address)
    return None if broken[0] else table


def _agrees(table: np.ndarray[tuple[int], np.dtype[np.uint32]], network: PixelwiseNetwork) -> bool:
    words = np.random.default_rng(0).integers(0, COLORS, _SAMPLES, np.uint32)
    expected = index_of(quantize(network(colors_of(words) / 255.0), network.rounding))
    return bool(np.array_equal(table[words], expected))
