"""An NVIDIA GPU through its driver: memory and kernels; each failure named in one line."""

from __future__ import annotations

import ctypes
import logging
import math
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from stainstream.errors import EngineError, MissingExtra

__all__ = ["Gpu", "absent", "address_of"]

_log = logging.getLogger(__name__)

_PAGE = 4096
_GONE = {
    "CONTAINED",
    "CONTEXT_IS_DESTROYED",
    "DEINITIALIZED",
    "DEVICE_UNAVAILABLE",
    "ECC_UNCORRECTABLE",
    "EXTERNAL_DEVICE",
    "HARDWARE_STACK_ERROR",
    "ILLEGAL_ADDRESS",
    "ILLEGAL_INSTRUCTION",
    "INVALID_ADDRESS_SPACE",
    "INVALID_PC",
    "LAUNCH_FAILED",
    "LAUNCH_TIMEOUT",
    "MISALIGNED_ADDRESS",
    "NVLINK_UNCORRECTABLE",
    "SYSTEM_NOT_READY",
    "TENSOR_MEMORY_LEAK",
    "UNKNOWN",
}
"""CUDA's errors after which a process can do nothing more on the GPU."""


def absent() -> str | None:
    """Why there is no NVIDIA GPU to use here, or None; loads the driver's own library and nothing else."""
    try:
        library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return "this machine has no NVIDIA driver"
    count = ctypes.c_int(0)
    code = library.cuInit(0) or library.cuDeviceGetCount(ctypes.byref(count))
    return None if count.value else f"the NVIDIA driver finds no GPU (CUDA error {code or 100})"


def address_of(array: NDArray[Any]) -> int:
    """Where an array's memory begins; a third of the price of its ``ctypes.data``."""
    return int(array.__array_interface__["data"][0])


class Gpu:
    """A GPU's primary context, which it shares with whatever else in the process uses the GPU (torch, TensorRT).

    It lives as long as anybody refers to it, or to memory that it pinned.

    Parameters
    ----------
    ordinal
        Which GPU, counted from 0 as CUDA does.

    Raises
    ------
    EngineError
        If there is no driver, no GPU of this number, or the driver is older than the installed CUDA packages.
    MissingExtra
        If the bindings are not installed.
    """

    def __init__(self, ordinal: int = 0) -> None:
        self.ordinal, self.name = ordinal, f"GPU {ordinal}"
        if (reason := absent()) is not None:
            raise EngineError(f"cannot use {self.name}", reason, "use: --engine lut_numba")
        try:
            from cuda.bindings import driver
        except ImportError as error:
            raise MissingExtra(f"cannot use {self.name}", "cuda.bindings", "gpu") from error
        self.driver = driver
        self._check_version()
        self.call("start the driver", driver.cuInit(0))
        if ordinal >= (count := self.call("count the GPUs", driver.cuDeviceGetCount())):
            raise EngineError(f"cannot use {self.name}", f"there are {count}, counted from 0")
        device = self.call("find it", driver.cuDeviceGet(ordinal))
        self.name = self.call("ask its name", driver.cuDeviceGetName(256, device)).rstrip(b"\0").decode()
        attributes = driver.CUdevice_attribute
        self.capability = (
            self._attribute(device, attributes.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
            self._attribute(device, attributes.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
        )
        self.processors = self._attribute(device, attributes.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
        self._context = self.call("start it", driver.cuDevicePrimaryCtxRetain(device))
        self._pinned: dict[int, int] = {}
        self._pinning = threading.Lock()
        weakref.finalize(self, driver.cuDevicePrimaryCtxRelease, device).atexit = False

    def _check_version(self) -> None:
        from importlib.metadata import version

        found = self.call("ask the driver's version", self.driver.cuDriverGetVersion())
        bindings = version("cuda-bindings")
        if found // 1000 < int(bindings.partition(".")[0]):
            raise EngineError(
                f"cannot use {self.name}",
                f"the NVIDIA driver is too old: it knows CUDA {found // 1000}.{found % 1000 // 10}, cuda-bindings"
                f" {bindings} needs CUDA {bindings.partition('.')[0]}",
                "update the driver (CUDA 13 needs 580 or newer), or see docs/gpu.md for the packages of CUDA 12",
            )

    def _attribute(self, device: Any, which: Any) -> int:
        return int(self.call("ask its properties", self.driver.cuDeviceGetAttribute(which, device)))

    def call(self, what: str, outcome: tuple[Any, ...]) -> Any:
        """What a function of the driver gave.

        Parameters
        ----------
        what
            What it was to do, for the message.

        Raises
        ------
        EngineError
            If it failed.
        """
        code, *values = outcome
        if code:
            raise self._error(what, code)
        return values[0] if values else None

    def _error(self, what: str, code: Any) -> EngineError:
        name = str(code.name)
        _, text = self.driver.cuGetErrorString(code)
        reason, cure = f"{text.decode() if text else 'unknown error'} ({name})", ""
        if name == "CUDA_ERROR_OUT_OF_MEMORY":
            cure = "free memory on the GPU (nvidia-smi shows who has it), or give smaller batches"
        elif name.removeprefix("CUDA_ERROR_") in _GONE:
            reason, cure = (
                f"the GPU is lost: {reason}",
                "nvidia-smi shows its state; restart the process to use it again",
            )
        return EngineError(f"cannot {what} on {self.name}", reason, cure)

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make this GPU the calling thread's; afterwards it has again the one that it had."""
        self.call("use it", self.driver.cuCtxPushCurrent(self._context))
        try:
            yield
        finally:
            self.driver.cuCtxPopCurrent()

    def allocate(self, size: int) -> int:
        """Address of `size` bytes of the GPU's memory, to be given back with `free`."""
        with self.current():
            return int(self.call(f"allocate {size / 2**20:,.1f} MiB", self.driver.cuMemAlloc(size)))

    def put(self, address: int, array: NDArray[Any]) -> None:
        """Copy any host memory to the GPU's, and wait."""
        with self.current():
            self.call("copy to the GPU", self.driver.cuMemcpyHtoD(address, address_of(array), array.nbytes))

    def get(self, array: NDArray[Any], address: int) -> None:
        """Copy the GPU's memory to any host memory, and wait."""
        with self.current():
            self.call("copy from the GPU", self.driver.cuMemcpyDtoH(address_of(array), address, array.nbytes))

    def free(self, address: int) -> None:
        """Give memory back; a lost GPU has none to take."""
        with self.quietly():
            self.call("free memory", self.driver.cuMemFree(address))

    @contextmanager
    def quietly(self) -> Iterator[None]:
        """For what is released: where the GPU is lost, nothing is left to be done."""
        try:
            with self.current():
                yield
        except EngineError as error:
            _log.debug("%s", error)

    def pinned(self, *shape: int) -> NDArray[np.uint8]:
        """Page-locked host memory of a shape, which the GPU reads and writes by itself, while others compute.

        It is NumPy's own memory: it stays readable whatever becomes of the GPU, and is unlocked when nobody refers to
        it any more.
        """
        size = math.prod(shape)
        pages = -(-size // _PAGE) * _PAGE
        owner = np.empty(pages + _PAGE, np.uint8)
        start = -owner.ctypes.data % _PAGE
        address = owner.ctypes.data + start
        with self.current():
            portable = self.driver.CU_MEMHOSTREGISTER_PORTABLE
            outcome = self.driver.cuMemHostRegister(address, pages, portable)
            self.call(f"pin {size / 2**20:,.1f} MiB of the host's memory", outcome)
        with self._pinning:
            self._pinned[address] = pages
        weakref.finalize(owner, self._unpin, address).atexit = False
        # Views of the result refer to it, not past it to the owner: `stream.pool` counts on that.
        held: Any = (ctypes.c_ubyte * size).from_buffer(cast("Any", owner), start)
        return np.ndarray(shape, np.uint8, held)

    def _unpin(self, address: int) -> None:
        with self._pinning:
            del self._pinned[address]
        with self.quietly():
            self.call("unpin memory", self.driver.cuMemHostUnregister(address))

    def is_pinned(self, array: NDArray[np.uint8]) -> bool:
        """Whether a C-contiguous array lies in memory that this object has pinned."""
        address, size = address_of(array), array.nbytes
        if size <= self._pinned.get(address, 0):  # a whole buffer, as most are
            return True
        with self._pinning:
            return any(start <= address and address + size <= start + pages for start, pages in self._pinned.items())

    def load(self, binary: bytes, *names: str) -> list[Any]:
        """The kernels `names` of a compiled program, which stays on the GPU as long as its context."""
        with self.current():
            module = self.call("load the kernels", self.driver.cuModuleLoadData(binary))
            return [
                self.call(f"find kernel {name}", self.driver.cuModuleGetFunction(module, name.encode()))
                for name in names
            ]
