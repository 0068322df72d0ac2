"""Networks in TensorRT, on an NVIDIA GPU."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec

from stainstream.config import Settings
from stainstream.errors import EngineError
from stainstream.frame import RGB8
from stainstream.model import Network

from .base import Artifact, Engine
from .gpu import Gpu
from .gpu_queue import Queue
from .lane import GpuLane
from .onboard import check_pair, handle_of, onboard
from .plan import Precision, Profile, TensorRT, kept, plan_name, save
from .precision import half, quantized
from .ring import Ring

__all__ = ["NetTensorrt", "make_plan"]

_log = logging.getLogger(__name__)


class NetTensorrt(Engine):
    """Runs an ONNX network as a TensorRT plan, which is built once for this GPU and kept.

    Each slot has a stream and an execution context of its own; a size that comes again is replayed as a graph.
    """

    class Options(Settings, frozen=True):
        """What can be set."""

        device: Annotated[int, msgspec.Meta(ge=0)] = 0
        """Which GPU, counted from 0."""
        slots: Annotated[int, msgspec.Meta(ge=1, le=8)] = 2
        """Frames under way at a time; each needs memory for the network's own images."""
        precision: Precision = "fp32"
        batch: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
        """Images that the network takes at a time."""
        height: Annotated[int, msgspec.Meta(ge=16)] = 1088
        """The largest."""
        width: Annotated[int, msgspec.Meta(ge=16)] = 1920
        """The largest."""

    options: Options

    def __init__(self, artifact: Artifact, threads: int | None = None, options: Settings | None = None) -> None:
        super().__init__(artifact, threads, options)
        assert isinstance(artifact, Network)
        self._network = artifact
        self.profile = Profile(self.options.batch, self.options.height, self.options.width)
        self._gpu: Gpu | None = None
        self._ring: Ring | None = None
        self._own: _Context | None = None
        self._queue: Queue | None = None
        self._alone = threading.Lock()
        self._version = ""

    @classmethod
    def incompatible(cls, artifact: Artifact) -> str | None:
        return None if isinstance(artifact, Network) else "it is a table, which the table engines run"

    @property
    def detail(self) -> str:
        name = self._gpu.name if self._gpu else "GPU"
        return f"{name}, {self._version or 'TensorRT'}, {self.options.precision}, {self.options.slots} slots"

    @property
    def depth(self) -> int:
        return self.options.slots

    @property
    def pins(self) -> bool:
        return True

    def buffer(self, height: int, width: int) -> RGB8:
        return super().buffer(height, width) if self._gpu is None else self._gpu.pinned(height, width, 3)

    def _open(self) -> None:
        gpu = self._gpu = Gpu(self.options.device)
        tensorrt = TensorRT()
        self._version = f"TensorRT{'-RTX' if tensorrt.flavor == 'rtx' else ''} {tensorrt.version}"
        with gpu.current():
            engine = _engine(self._network, self.profile, self.options.precision, tensorrt, gpu)
            contexts = [_Context(engine, tensorrt) for _ in range(self.options.slots + 1)]
        self._own, self._queue = contexts.pop(), Queue(gpu)
        self._ring = Ring([GpuLane(gpu, each) for each in contexts], gpu)

    def _close(self) -> None:
        if self._ring is not None:
            self._ring.close()
        if self._queue is not None:
            self._queue.close()
        self._ring = self._queue = self._own = None

    def _run(self, rgb: RGB8, out: RGB8) -> None:
        self._opened().run(self._parts(rgb, out))

    def _start(self, rgb: RGB8, out: RGB8) -> Callable[[], None]:
        ring, parts = self._opened(), list(self._parts(rgb, out))
        if len(parts) == 1:
            return ring.start(*parts[0])
        ring.run(parts)
        return lambda: None

    def _opened(self) -> Ring:
        if self._ring is None:
            raise EngineError("cannot finish a frame", "the engine was closed by another thread")
        return self._ring

    def _parts(self, rgb: RGB8, out: RGB8) -> Iterator[tuple[RGB8, RGB8]]:
        """As many images at a time as the plan takes."""
        source, target = (each if each.ndim == 4 else each[None] for each in (rgb, out))
        for first in range(0, len(source), self.profile.batch):
            part = source[first : first + self.profile.batch]
            self._check(part.shape)
            yield part, target[first : first + self.profile.batch]

    def _check(self, shape: tuple[int, ...]) -> None:
        if not self.profile.fits(shape):
            height, width = (max(size, self.profile.least) for size in shape[1:3])
            raise EngineError(
                f"cannot normalize {shape[0]} images of {shape[2]}x{shape[1]}",
                f"the plan is for {self.profile}",
                f"use: --engine 'net_tensorrt?width={width}&height={height}'",
            )

    def _onboard(self, image: object, out: object, stream: object) -> None:
        gpu, queue, context = self._gpu, self._queue, self._own
        if gpu is None or queue is None or context is None:
            raise EngineError("cannot finish a frame", "the engine was closed by another thread")
        handle = queue.handle if stream is None else handle_of(stream)
        with self._alone, gpu.current():
            source = onboard("the image", image, gpu.ordinal, handle)
            target = source if out is image else onboard("out", out, gpu.ordinal, handle)
            check_pair(source, target)
            shape = source.shape if len(source.shape) == 4 else (1, *source.shape)
            self._check(shape)
            where = Queue(gpu, handle)
            # A network reads neighbors: it cannot write over what it still reads.
            apart = gpu.allocate(source.size) if source.address == target.address else 0
            try:
                context.enqueue(where, source.address, apart or target.address, shape)
                if apart:
                    where.copy(target.address, apart, source.size)
                where.wait()  # also on a stream that was given: the context is for one image at a time
            finally:
                if apart:
                    gpu.free(apart)


class _Context:
    """An execution context: the network's own images, for one frame at a time; see `lane.Work`."""

    in_place, warm, forgets = False, 2, True

    def __init__(self, engine: Any, tensorrt: TensorRT) -> None:
        trt = tensorrt.module
        self._tensorrt = tensorrt
        self._engine, self._context = engine, engine.create_execution_context()
        if self._context is None:
            raise EngineError("cannot make an execution context", "; ".join(tensorrt.said[-1:]) or "out of memory")
        names = [engine.get_tensor_name(k) for k in range(engine.num_io_tensors)]
        self._input = next(name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT)
        self._output = next(name for name in names if name != self._input)
        if {engine.get_tensor_dtype(name) for name in (self._input, self._output)} != {trt.uint8}:
            raise EngineError("cannot run the plan", "it does not take and give uint8")
        self._shape: tuple[int, ...] = ()

    def enqueue(self, queue: Queue, source: int, target: int, shape: tuple[int, ...]) -> None:
        context = self._context
        if shape != self._shape:
            if not context.set_input_shape(self._input, tuple(shape)):
                raise self._failed(f"cannot take images of shape {shape}")
            if tuple(context.get_tensor_shape(self._output)) != tuple(shape):
                raise EngineError("cannot run the plan", f"it gives another shape than {shape}")
            self._shape = shape
        context.set_tensor_address(self._input, source)
        context.set_tensor_address(self._output, target)
        if not context.execute_async_v3(queue.handle):
            raise self._failed("cannot run the plan")

    def _failed(self, what: str) -> EngineError:
        return EngineError(
            what, " ".join(self._tensorrt.said[-1].split()) if self._tensorrt.said else "TensorRT refuses"
        )


def make_plan(
    network: Network,
    profile: Profile,
    precision: Precision,
    tensorrt: TensorRT,
    tiles: Callable[[], list[RGB8]] = list,
) -> bytes:
    """Build a plan of a network, in a precision.

    Parameters
    ----------
    tiles
        Gives typical images, for int8.

    Raises
    ------
    EngineError, MissingExtra
        If it cannot be made.
    """
    try:
        data = network.path.read_bytes()
    except OSError as error:
        raise EngineError(f"cannot read {network.path}", error.strerror or str(error)) from error
    if precision == "fp16":
        data = half(data)
    elif precision == "int8":
        data = quantized(data, tiles())
    return tensorrt.build(data, profile)


def _engine(network: Network, profile: Profile, precision: Precision, tensorrt: TensorRT, gpu: Gpu) -> Any:
    """The network's engine: of the plan beside it if that is trusted, of the one that is kept, or of a new one."""
    name = plan_name(network.name, network.digest, profile, precision, tensorrt, (*gpu.capability, gpu.name))
    for plan in (_beside(network, name), kept(name)):
        if plan is not None:
            try:
                return tensorrt.load(plan)
            except EngineError as error:
                _log.warning("building a plan of %s anew: %s", network.name, error)
    if precision == "int8":
        raise EngineError(
            f"no int8 plan of {network.name!r} is kept",
            "int8 is made with tiles to calibrate with",
            f"run: stainstream export {network.path} --to tensorrt --precision int8 --tiles FOLDER",
        )
    _log.info("building a TensorRT plan of %s (once; it may take minutes)", network.name)
    plan = make_plan(network, profile, precision, tensorrt)
    try:
        _log.info("kept as %s", save(name, plan))
    except OSError as error:
        _log.warning("cannot keep the plan of %s: %s", network.name, error.strerror or error)
    return tensorrt.load(plan)


def _beside(network: Network, name: str) -> bytes | None:
    """The plan of this name that came with the model, if it may be run."""
    path = Path(network.path).with_name(name)
    if not path.is_file():
        return None
    if not network.trust_plan:
        _log.warning("not running %s: a plan is a program; --trust-plan runs it, if you trust where it is from", path)
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        _log.warning("cannot read %s: %s", path, error.strerror or error)
        return None
