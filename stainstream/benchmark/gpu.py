"""What a GPU does: frames that lie on it, frames of the host, single frames, and the networks on each engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stainstream.engines.gpu import Gpu, absent
from stainstream.errors import StainstreamError

from .engines import cases
from .gpu_measures import copies, from_host, in_torch, latencies, networks, on_device
from .gpu_row import NOT_MEASURED, Bench, GpuRow, missed

__all__ = ["device", "gpu_rows"]

_BATCHES = (1, 16, 64)
_SLOTS = (1, 2, 3, 4)


@dataclass(frozen=True, slots=True)
class _Task:
    """Something to measure."""

    row: GpuRow
    measure: Callable[[Bench], GpuRow]


def device() -> dict[str, Any]:
    """The GPU, for the record."""
    if (reason := absent()) is not None:
        return {"status": NOT_MEASURED, "reason": reason}
    try:
        gpu = Gpu()
    except StainstreamError as error:
        return {"status": NOT_MEASURED, "reason": str(error)}
    version = int(gpu.call("ask the driver's version", gpu.driver.cuDriverGetVersion()))
    capability = ".".join(map(str, gpu.capability))
    return {"name": gpu.name, "capability": capability, "processors": gpu.processors, "cuda_of_driver": version}


def gpu_rows(model: str, seconds: float, generator: Path | None = None) -> Iterator[GpuRow]:
    """Measure everything that a GPU can run; each row that cannot be had here says so, and nothing else.

    Parameters
    ----------
    seconds
        How long to measure each figure.
    generator
        A StainGAN generator's ``.onnx`` file.
    """
    reason = absent()
    bench: Bench | None = None
    if reason is None:
        try:
            images = {case.content: case.image for case in cases((), ["512x512"])}
            bench = Bench(Gpu(), model, seconds, images, generator)
        except StainstreamError as error:
            reason = str(error)
    for task in _tasks():
        if bench is None:
            yield missed(task.row, reason or "")
            continue
        try:
            yield task.measure(bench)
        except (StainstreamError, ImportError, RuntimeError, MemoryError) as error:
            yield missed(task.row, " ".join(str(error).split())[:200] or type(error).__name__)


def _tasks() -> Iterator[_Task]:
    for batch in _BATCHES:
        yield _task("copy", "device's own copy", "none", batch, 1, "tissue", copies)
    for content in ("tissue", "noise"):
        for batch in _BATCHES:
            yield _task("device", "lut_cuda", "StainNet", batch, 1, content, on_device)
    for name in ("torch eager", "torch.compile"):
        for batch in _BATCHES[:2]:
            yield _task("device", name, "StainNet", batch, 1, "tissue", in_torch)
    for slots in _SLOTS:
        yield _task("host", f"lut_cuda?slots={slots}", "StainNet", 1, slots, "tissue", from_host)
    yield _task("latency", "lut_cuda?slots=1", "StainNet", 1, 1, "tissue", latencies)
    for engine in _NETWORKS:
        for network in ("StainNet", "StainGAN generator"):
            yield _task("host", engine, network, 1, 1, "tissue", networks)


_NETWORKS = (
    "net_tensorrt?precision=fp32",
    "net_tensorrt?precision=fp16",
    "net_tensorrt?precision=int8",
    "net_onnx?provider=cuda",
    "net_onnx?provider=tensorrt",
)


def _task(
    bench: str,
    engine: str,
    network: str,
    batch: int,
    slots: int,
    content: str,
    measure: Callable[[Bench, GpuRow], GpuRow],
) -> _Task:
    row = GpuRow(bench=bench, engine=engine, network=network, batch=batch, slots=slots, input=content)
    return _Task(row, lambda given: measure(given, row))
