"""Work that an NVIDIA GPU does in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .gpu import Gpu, address_of

__all__ = ["Queue"]


class Queue:
    """Work in order (a CUDA stream); several queues of a GPU run at the same time, as its engines allow.

    All but `close` is to be called with the GPU current.

    Parameters
    ----------
    handle
        Address of a stream that is somebody else's to close; a new one by default.
    """

    def __init__(self, gpu: Gpu, handle: int | None = None) -> None:
        self.gpu, self._driver = gpu, gpu.driver
        if handle is not None:
            self.handle = handle
            return
        with gpu.current():
            # Not the default stream's kind, which waits for everybody.
            kind = self._driver.CUstream_flags.CU_STREAM_NON_BLOCKING
            self.handle = int(gpu.call("make a stream", self._driver.cuStreamCreate(kind)))

    def copy_in(self, address: int, source: NDArray[np.uint8]) -> None:
        """Copy host memory to the GPU's."""
        outcome = self._driver.cuMemcpyHtoDAsync(address, address_of(source), source.nbytes, self.handle)
        self.gpu.call("copy to the GPU", outcome)

    def copy_out(self, target: NDArray[np.uint8], address: int) -> None:
        """Copy the GPU's memory to the host's."""
        outcome = self._driver.cuMemcpyDtoHAsync(address_of(target), address, target.nbytes, self.handle)
        self.gpu.call("copy from the GPU", outcome)

    def copy(self, target: int, source: int, size: int) -> None:
        """Copy within the GPU's memory."""
        self.gpu.call("copy on the GPU", self._driver.cuMemcpyDtoDAsync(target, source, size, self.handle))

    def launch(
        self, kernel: Any, blocks: int, threads: int, arguments: tuple[tuple[int, ...], tuple[Any, ...]]
    ) -> None:
        """Run a kernel; `arguments` are values and their ctypes."""
        outcome = self._driver.cuLaunchKernel(kernel, blocks, 1, 1, threads, 1, 1, 0, self.handle, arguments, 0)
        self.gpu.call("run a kernel", outcome)

    def capture(self, work: Callable[[], None]) -> Any:
        """What `work` puts into this queue, as a graph for `replay`, not run yet."""
        driver, call = self._driver, self.gpu.call
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        call("capture work", driver.cuStreamBeginCapture(self.handle, mode))
        try:
            work()
        finally:  # a capture left open would spoil the stream
            graph = call("capture work", driver.cuStreamEndCapture(self.handle))
        try:
            return call("make a graph", driver.cuGraphInstantiate(graph, 0))
        finally:
            driver.cuGraphDestroy(graph)

    def replay(self, graph: Any) -> None:
        """Run a captured graph: all of its work for the price of one call."""
        self.gpu.call("run a graph", self._driver.cuGraphLaunch(graph, self.handle))

    def forget(self, graph: Any) -> None:
        """Release a captured graph."""
        self._driver.cuGraphExecDestroy(graph)

    def wait(self) -> None:
        """Return when everything in the queue is done; other threads run meanwhile."""
        self.gpu.call("finish work", self._driver.cuStreamSynchronize(self.handle))

    def close(self) -> None:
        """Release the stream."""
        with self.gpu.quietly():
            self.gpu.call("release a stream", self._driver.cuStreamDestroy(self.handle))
