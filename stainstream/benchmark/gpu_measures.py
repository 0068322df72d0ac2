"""What is measured on a GPU."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from stainstream.api import load
from stainstream.engines.gpu_queue import Queue
from stainstream.errors import EngineError, MissingExtra
from stainstream.frame import RGB8
from stainstream.model import find
from stainstream.plans import export_plan

from .gpu_row import Bench, GpuRow, bursts, filled, one_by_one

__all__ = ["copies", "from_host", "in_torch", "latencies", "networks", "on_device"]

_ROTATE = 64 << 20  # bytes that the frames in turn take together, so that they do not stay in a cache


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


def _blocks(bench: Bench, batch: int, stack: ExitStack) -> list[int]:
    """Addresses of enough batches that they do not stay in a cache, filled with nothing in particular."""
    size = batch * math.prod((512, 512, 3))
    found = []
    for _ in range(max(4, _ROTATE // size)):
        found.append(bench.gpu.allocate(size))
        stack.callback(bench.gpu.free, found[-1])
    return found


def copies(bench: Bench, row: GpuRow) -> GpuRow:
    """The device's own copy."""
    with ExitStack() as stack:
        blocks = _blocks(bench, row.batch, stack)
        queue = Queue(bench.gpu)
        stack.callback(queue.close)
        size = row.batch * math.prod((512, 512, 3))
        with bench.gpu.current():
            taken = bursts(
                lambda k: queue.copy(blocks[(k + 1) % len(blocks)], blocks[k % len(blocks)], size),
                queue.wait,
                bench.seconds,
            )
    bench.copies[row.batch] = row.batch / float(np.median(taken))
    return filled(row, taken, bench)


def on_device(bench: Bench, row: GpuRow) -> GpuRow:
    """Frames that lie on the GPU, through the table."""
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
        queue = Queue(bench.gpu)
        stack.callback(queue.close)
        taken = bursts(
            lambda k: engine.onboard(arrays[k % len(arrays)], out, queue.handle),
            lambda: _wait(bench, queue),
            bench.seconds,
        )
        result = np.empty_like(frames)
        bench.gpu.get(result, out.address)
        return filled(row, taken, bench, **_difference(_table(bench, frames), result))


def _wait(bench: Bench, queue: Any) -> None:
    with bench.gpu.current():
        queue.wait()


def _table(bench: Bench, frames: RGB8) -> RGB8:
    with load(bench.model, "lut_numba") as reference:
        return reference(frames)


def _difference(expected: RGB8, result: RGB8) -> dict[str, Any]:
    off = np.abs(expected.astype(np.int16) - result)
    return {"differs": round(float((off > 0).mean()), 6), "largest": int(off.max())}


def from_host(bench: Bench, row: GpuRow) -> GpuRow:
    """Frames of the host, several under way, through the table."""
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

        taken = bursts(call, wait, bench.seconds)
        return filled(row, taken, bench, **_difference(_table(bench, image), places[0][1]))


def latencies(bench: Bench, row: GpuRow) -> GpuRow:
    """Frames of the host, one at a time."""
    image = bench.cases[row.input]
    with load(bench.model, row.engine) as normalize:
        engine = normalize.engine
        source, target = engine.buffer(512, 512), engine.buffer(512, 512)
        source[...] = image
        return filled(
            row, one_by_one(engine, source, target, bench.seconds), bench, **_difference(_table(bench, image), target)
        )


def networks(bench: Bench, row: GpuRow) -> GpuRow:
    """A network, in TensorRT or ONNX Runtime."""
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
        taken = one_by_one(normalize.engine, source, target, bench.seconds)
        expected = _table(bench, image) if row.network == "StainNet" else _processor(model, image)
        return filled(row, taken, bench, **_difference(expected, target))


def _processor(model: str, image: RGB8) -> RGB8:
    with load(model, "net_onnx?provider=cpu") as reference:
        return reference(image)


def in_torch(bench: Bench, row: GpuRow) -> GpuRow:
    """Frames that lie on the GPU, through the network in torch."""
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
        taken = bursts(lambda _: call(frames), torch.cuda.synchronize, bench.seconds)
        result = call(frames).cpu().numpy()
    return filled(
        row, taken, bench, **_difference(_table(bench, np.stack([bench.cases[row.input]] * row.batch)), result)
    )
