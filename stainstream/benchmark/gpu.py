"""What a GPU does: frames that lie on it, frames of the host, single frames, and the networks on each engine."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from stainstream.api import load
from stainstream.engines import Engine
from stainstream.engines.gpu import Gpu, absent
from stainstream.errors import EngineError, MissingExtra, StainstreamError
from stainstream.frame import RGB8
from stainstream.model import find
from stainstream.plans import export_plan

from .engines import cases
from .rows import PAPER_FPS

__all__ = ["PAPER_GENERATOR_FPS", "GpuRow", "device", "gpu_rows"]

PAPER_GENERATOR_FPS = 19.6
NOT_MEASURED = "not measured"
_BATCHES = (1, 16, 64)
_SLOTS = (1, 2, 3, 4)
_ROTATE = 64 << 20  # bytes that the frames in turn take together, so that they do not stay in a cache
_MOST_CALLS = 20_000


class GpuRow(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement on a GPU; where there was none, what was to be measured, and why it was not."""

    bench: str
    """``copy``: the device's own copy of the same frames; ``device``: frames that lie on the GPU; ``host``: host frame
    in, host frame out, several under way; ``latency``: one host frame at a time."""
    engine: str
    network: str
    """``StainNet``, ``StainGAN generator``, or ``none``."""
    batch: int
    """Frames of 512x512 a call."""
    slots: int
    """Frames under way at a time."""
    input: str
    status: str = "measured"
    """``"measured"``, or ``"not measured"``."""
    reason: str = ""
    fps: float | None = None
    """Frames a second, each burst synchronized inside the timed region."""
    gb_per_s: float | None = None
    """Bytes read and written."""
    us_p50: float | None = None
    us_p99: float | None = None
    us_p999: float | None = None
    """Time of a call, in us: of a burst of calls without waiting in between divided by their number, or of a call by
    itself (`latency`)."""
    vs_copy: float | None = None
    """Frames a second over those of the device's own copy, in the same run."""
    vs_paper: float | None = None
    """`fps` over the paper's 881.8 (StainNet) or 19.6 (StainGAN)."""
    differs: float | None = None
    """Share of values that differ from the exact table, or from ONNX Runtime on the processor."""
    largest: int | None = None
    """By how many levels they differ at most."""


@dataclass(frozen=True, slots=True)
class _Task:
    """Something to measure."""

    row: GpuRow
    measure: Callable[[_Bench], GpuRow]


@dataclass
class _Bench:
    """What all measurements share."""

    gpu: Gpu
    model: str
    seconds: float
    cases: dict[str, RGB8]
    generator: Path | None
    copies: dict[int, float] = field(default_factory=dict)
    """Frames a second of a plain copy, by batch."""


class _OnGpu:
    """A batch in the GPU's memory."""

    def __init__(self, address: int, shape: tuple[int, ...]) -> None:
        self.address = address
        self.__cuda_array_interface__ = {
            "shape": shape,
            "typestr": "|u1",
            "data": (address, False),
            "version": 3,
            "strides": None,
            "stream": None,
        }


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
    bench: _Bench | None = None
    if reason is None:
        try:
            images = {case.content: case.image for case in cases((), ["512x512"])}
            bench = _Bench(Gpu(), model, seconds, images, generator)
        except StainstreamError as error:
            reason = str(error)
    for task in _tasks():
        if bench is None:
            yield _missed(task.row, reason or "")
            continue
        try:
            yield task.measure(bench)
        except (StainstreamError, ImportError, RuntimeError, MemoryError) as error:
            yield _missed(task.row, " ".join(str(error).split())[:200] or type(error).__name__)


def _missed(row: GpuRow, reason: str) -> GpuRow:
    return msgspec.structs.replace(row, status=NOT_MEASURED, reason=reason)


def _tasks() -> Iterator[_Task]:
    for batch in _BATCHES:
        yield _task("copy", "device's own copy", "none", batch, 1, "tissue", _copy)
    for content in ("tissue", "noise"):
        for batch in _BATCHES:
            yield _task("device", "lut_cuda", "StainNet", batch, 1, content, _on_device)
    for name in ("torch eager", "torch.compile"):
        for batch in _BATCHES[:2]:
            yield _task("device", name, "StainNet", batch, 1, "tissue", _torch)
    for slots in _SLOTS:
        yield _task("host", f"lut_cuda?slots={slots}", "StainNet", 1, slots, "tissue", _host)
    yield _task("latency", "lut_cuda?slots=1", "StainNet", 1, 1, "tissue", _latency)
    for engine in _NETWORKS:
        for network in ("StainNet", "StainGAN generator"):
            yield _task("host", engine, network, 1, 1, "tissue", _network)


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
    measure: Callable[[_Bench, GpuRow], GpuRow],
) -> _Task:
    row = GpuRow(bench=bench, engine=engine, network=network, batch=batch, slots=slots, input=content)
    return _Task(row, lambda given: measure(given, row))


def _bursts(call: Callable[[int], object], wait: Callable[[], None], seconds: float) -> list[float]:
    """Seconds of a call: of bursts that end when their work is done, of about a fiftieth of the time each."""
    for k in range(3):
        call(k)
    wait()
    count, taken = 1, [0.0]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(taken) < 6:
        start = time.perf_counter()
        for k in range(count):
            call(k)
        wait()
        spent = time.perf_counter() - start
        taken.append(spent / count)
        if spent < seconds / 50:
            count, taken = min(2 * count, _MOST_CALLS), [0.0]
            end = max(end, time.perf_counter() + seconds / 2) if count < _MOST_CALLS else end
    return taken[1:]


def _filled(row: GpuRow, seconds: Sequence[float], bench: _Bench, **known: Any) -> GpuRow:
    p50, p99, p999 = (float(each) for each in np.percentile(np.array(seconds) * 1e6, [50, 99, 99.9]))
    fps = 1e6 * row.batch / p50
    paper = PAPER_GENERATOR_FPS if row.network == "StainGAN generator" else PAPER_FPS
    copy = bench.copies.get(row.batch) if row.bench == "device" else None
    return msgspec.structs.replace(
        row,
        fps=round(fps, 1),
        us_p50=round(p50, 2),
        us_p99=round(p99, 2),
        us_p999=round(p999, 2),
        gb_per_s=round(2 * fps * math.prod((512, 512, 3)) / 1e9, 2),
        vs_copy=round(fps / copy, 3) if copy else None,
        vs_paper=None if row.network == "none" else round(fps / paper, 2),
        **known,
    )


def _blocks(bench: _Bench, batch: int, stack: ExitStack) -> list[int]:
    """Addresses of enough batches that they do not stay in a cache, filled with nothing in particular."""
    size = batch * math.prod((512, 512, 3))
    found = []
    for _ in range(max(4, _ROTATE // size)):
        found.append(bench.gpu.allocate(size))
        stack.callback(bench.gpu.free, found[-1])
    return found


def _copy(bench: _Bench, row: GpuRow) -> GpuRow:
    with ExitStack() as stack:
        blocks = _blocks(bench, row.batch, stack)
        queue = bench.gpu.queue()
        stack.callback(queue.close)
        size = row.batch * math.prod((512, 512, 3))
        with bench.gpu.current():
            taken = _bursts(
                lambda k: queue.copy(blocks[(k + 1) % len(blocks)], blocks[k % len(blocks)], size),
                queue.wait,
                bench.seconds,
            )
    bench.copies[row.batch] = row.batch / float(np.median(taken))
    return _filled(row, taken, bench)


def _on_device(bench: _Bench, row: GpuRow) -> GpuRow:
    image = bench.cases[row.input]
    with ExitStack() as stack:
        normalize = stack.enter_context(load(bench.model, "lut_cuda"))
        engine = normalize.engine
        shape = (row.batch, *image.shape)
        blocks = _blocks(bench, row.batch, stack)
        frames = np.stack([np.roll(image, 37 * k, (0, 1)) for k in range(row.batch)])
        for address in blocks:
            bench.gpu.put(address, frames)
        arrays = [_OnGpu(address, shape) for address in blocks]
        out = _OnGpu(bench.gpu.allocate(frames.nbytes), shape)
        stack.callback(bench.gpu.free, out.address)
        queue = bench.gpu.queue()
        stack.callback(queue.close)
        taken = _bursts(
            lambda k: engine.onboard(arrays[k % len(arrays)], out, queue.handle),
            lambda: _wait(bench, queue),
            bench.seconds,
        )
        result = np.empty_like(frames)
        bench.gpu.get(result, out.address)
        return _filled(row, taken, bench, **_difference(_table(bench, frames), result))


def _wait(bench: _Bench, queue: Any) -> None:
    with bench.gpu.current():
        queue.wait()


def _table(bench: _Bench, frames: RGB8) -> RGB8:
    with load(bench.model, "lut_numba") as reference:
        return reference(frames)


def _difference(expected: RGB8, result: RGB8) -> dict[str, Any]:
    off = np.abs(expected.astype(np.int16) - result)
    return {"differs": round(float((off > 0).mean()), 6), "largest": int(off.max())}


def _host(bench: _Bench, row: GpuRow) -> GpuRow:
    image = bench.cases[row.input]
    with load(bench.model, row.engine) as normalize:
        engine = normalize.engine
        places = [(engine.buffer(512, 512), engine.buffer(512, 512)) for _ in range(2 * row.slots)]
        for source, _ in places:
            source[...] = image
        under_way: deque[Callable[[], RGB8]] = deque()

        def call(k: int) -> None:
            if len(under_way) >= row.slots:
                under_way.popleft()()
            under_way.append(engine.submit(*places[k % len(places)]))

        def wait() -> None:
            while under_way:
                under_way.popleft()()

        taken = _bursts(call, wait, bench.seconds)
        return _filled(row, taken, bench, **_difference(_table(bench, image), places[0][1]))


def _latency(bench: _Bench, row: GpuRow) -> GpuRow:
    image = bench.cases[row.input]
    with load(bench.model, row.engine) as normalize:
        engine = normalize.engine
        source, target = engine.buffer(512, 512), engine.buffer(512, 512)
        source[...] = image
        return _filled(
            row, _one_by_one(engine, source, target, bench.seconds), bench, **_difference(_table(bench, image), target)
        )


def _one_by_one(engine: Engine, source: RGB8, target: RGB8, seconds: float) -> list[float]:
    """Seconds of each call by itself."""
    for _ in range(50):
        engine(source, target)
    taken: list[float] = []
    end = time.perf_counter() + 2 * seconds
    while time.perf_counter() < end or len(taken) < 100:
        start = time.perf_counter()
        engine(source, target)
        taken.append(time.perf_counter() - start)
    return taken


def _network(bench: _Bench, row: GpuRow) -> GpuRow:
    image = bench.cases[row.input]
    model: str = bench.model
    if row.network == "StainGAN generator":
        if bench.generator is None:
            raise EngineError("there is no generator to measure", "", "give one: --generator FILE.onnx")
        model = str(bench.generator)
    elif "int8" in row.engine:
        raise EngineError("int8 is for generators", "StainNet is exactly a table, which is faster and loses nothing")
    if "int8" in row.engine:
        export_plan(Path(model).read_bytes(), Path(model).stem, "int8", None, None, "1920x1088", 2)
    with load(model, row.engine) as normalize:
        source, target = normalize.engine.buffer(512, 512), normalize.engine.buffer(512, 512)
        source[...] = image
        taken = _one_by_one(normalize.engine, source, target, bench.seconds)
        expected = _table(bench, image) if row.network == "StainNet" else _processor(model, image)
        return _filled(row, taken, bench, **_difference(expected, target))


def _processor(model: str, image: RGB8) -> RGB8:
    with load(model, "net_onnx?provider=cpu") as reference:
        return reference(image)


def _torch(bench: _Bench, row: GpuRow) -> GpuRow:
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("cannot measure torch", "torch", "train") from error
    from .peers import torch_network

    if not torch.cuda.is_available():
        raise EngineError("cannot measure torch", "the installed torch sees no GPU")
    model = find(bench.model)
    network: Any = torch_network(model.network).cuda()
    nearest = model.card is None or model.card.rounding == "nearest"
    frames = torch.from_numpy(np.stack([bench.cases[row.input]] * row.batch)).cuda()

    def run(batch: Any) -> Any:
        image = batch.permute(0, 3, 1, 2).float().div(255.0).sub(0.5).div(0.5)
        levels = (network(image) * 0.5 + 0.5).clamp(0, 1).mul(255.0)
        return (levels.round() if nearest else levels).to(torch.uint8).permute(0, 2, 3, 1).contiguous()

    call = torch.compile(run) if row.engine == "torch.compile" else run
    with torch.inference_mode():
        taken = _bursts(lambda _: call(frames), torch.cuda.synchronize, bench.seconds)
        result = call(frames).cpu().numpy()
    return _filled(
        row, taken, bench, **_difference(_table(bench, np.stack([bench.cases[row.input]] * row.batch)), result)
    )
