"""Networks in ONNX Runtime, on the processor or an NVIDIA GPU."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np

from stainstream.config import Settings, cache_folder
from stainstream.errors import EngineError, StainstreamError
from stainstream.frame import RGB8
from stainstream.model import Network

from .base import Artifact, Engine
from .gpu import Gpu, absent
from .gpu_queue import Queue

__all__ = ["NetOnnx"]

_log = logging.getLogger(__name__)

_NAMES = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
_CURE = "run: pip install 'stainstream[onnx-gpu]', or use --engine 'net_onnx?provider=cpu'"
_USUAL = (1, 512, 512, 3)
_SHAPES = 4  # for which sessions are kept


class NetOnnx(Engine):
    """Runs an ONNX network, uint8 (N, H, W, 3) in and out, for methods that are not pixelwise.

    ONNX Runtime itself goes on with the processor where a GPU's provider cannot be had, with no more than a line in its
    log. Here the provider that was asked for runs, or nothing does.
    """

    class Options(Settings, frozen=True):
        """What can be set."""

        provider: Literal["auto", "cpu", "cuda", "tensorrt"] = "auto"
        """``auto``: CUDA where there are a GPU and a package that can use it, else the processor; `detail` says it."""
        device: Annotated[int, msgspec.Meta(ge=0)] = 0
        """Which GPU, counted from 0."""

    options: Options

    def __init__(self, artifact: Artifact, threads: int | None = None, options: Settings | None = None) -> None:
        super().__init__(artifact, threads, options)
        assert isinstance(artifact, Network)
        self._network = artifact
        self._session: Any = None
        self._board: _Board | None = None
        self._provider = ""

    @classmethod
    def incompatible(cls, artifact: Artifact) -> str | None:
        return None if isinstance(artifact, Network) else "it is a table, which the table engines run"

    @property
    def detail(self) -> str:
        where = self._board.gpu.name if self._board else super().detail
        return f"{where}, {self._provider or 'ONNX Runtime'}"

    def _open(self) -> None:
        import onnxruntime

        kind = self.options.provider
        if kind == "auto":
            offered = _NAMES["cuda"] in onnxruntime.get_available_providers()
            kind = "cuda" if offered and absent() is None else "cpu"
        try:
            self._start_with(kind)
        except StainstreamError as error:
            if self.options.provider != "auto" or kind == "cpu":
                raise
            _log.warning("%s; the processor runs it", error)
            self._close()
            self._start_with("cpu")
        self._input, self._output = self._session.get_inputs()[0].name, self._session.get_outputs()[0].name

    def _start_with(self, kind: str) -> None:
        import onnxruntime

        name = _NAMES[kind]
        if name not in onnxruntime.get_available_providers():
            raise EngineError(
                f"cannot run {self._network.name!r} with {name}",
                f"the installed onnxruntime {onnxruntime.__version__} does not have it",
                "run: pip uninstall onnxruntime && pip install 'stainstream[onnx-gpu]'",
            )
        if kind == "cpu":
            self._session = self._loaded(name, {}, {})
        else:
            self._board = _Board(Gpu(self.options.device), self._for_shape)
            with self._board.gpu.current():
                self._session = self._for_shape(_USUAL)
        self._provider = name

    def _for_shape(self, shape: tuple[int, ...]) -> Any:
        """A session for one shape: only then does all of the graph run on the GPU, and may be captured."""
        assert self._board is not None
        kind = "cuda" if self.options.provider == "auto" else self.options.provider
        sizes = dict(zip(_free_axes(self._network.path), shape, strict=True))
        return self._loaded(_NAMES[kind], self._gpu_options(kind, self._board), sizes)

    def _gpu_options(self, kind: str, board: _Board) -> dict[str, str]:
        options = {"device_id": str(self.options.device), "user_compute_stream": str(board.queue.handle)}
        if kind == "cuda":
            return options | {"use_tf32": "0", "enable_cuda_graph": "1", "cudnn_conv_algo_search": "HEURISTIC"}
        folder = cache_folder() / "onnxruntime"
        folder.mkdir(parents=True, exist_ok=True)
        return options | {
            "trt_cuda_graph_enable": "1",
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(folder),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(folder),
        }

    def _loaded(self, name: str, provider: dict[str, str], sizes: dict[str, int]) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.log_severity_level = 3
        if on_gpu := name != _NAMES["cpu"]:
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        for axis, size in sizes.items():
            if axis:
                options.add_free_dimension_override_by_name(axis, size)
        try:
            with redirect_stdout(StringIO()):  # it prints what is an error here
                if on_gpu and hasattr(onnxruntime, "preload_dlls"):
                    onnxruntime.preload_dlls()  # CUDA's libraries from their own pip packages
                session = onnxruntime.InferenceSession(str(self._network.path), options, providers=[(name, provider)])
        except Exception as error:  # onnxruntime raises whatever it meets
            if on_gpu:
                raise EngineError(
                    f"cannot run {self._network.name!r} with {name}", _first_line(error), _CURE
                ) from error
            raise EngineError(f"cannot load {self._network.path}", _first_line(error)) from error
        if (found := session.get_providers()[0]) != name:
            raise EngineError(
                f"cannot run {self._network.name!r} with {name}",
                f"ONNX Runtime cannot load it, and would go on with {found}",
                _CURE,
            )
        return session

    def _close(self) -> None:
        self._session = None
        if self._board is not None:
            self._board.close()
            self._board = None

    def _run(self, rgb: RGB8, out: RGB8) -> None:
        session, board = self._session, self._board
        if session is None:
            raise EngineError("cannot finish a frame", "the engine was closed by another thread")
        batch = rgb if rgb.ndim == 4 else rgb[None]
        try:
            if board is not None:
                board.run((self._input, self._output), batch, out.reshape(batch.shape))
                return
            (result,) = session.run(None, {self._input: batch})
        except EngineError:
            raise
        except Exception as error:
            raise EngineError(f"{self._network.name!r} failed on shape {batch.shape}", _first_line(error)) from error
        if result.shape != batch.shape or result.dtype != np.uint8:
            raise EngineError(f"{self._network.name!r} gave {result.dtype}{list(result.shape)}", f"for {batch.shape}")
        np.copyto(out.reshape(batch.shape), result)


class _Board:
    """A stream, and sessions with memory of the GPU at fixed addresses, which CUDA graphs need; one frame at a time.

    Parameters
    ----------
    load
        Makes a session for a shape.
    """

    def __init__(self, gpu: Gpu, load: Callable[[tuple[int, ...]], Any]) -> None:
        self.gpu, self.queue, self._load = gpu, Queue(gpu), load
        self._alone = threading.Lock()
        self._places: dict[tuple[int, ...], _Place] = {}

    def run(self, names: tuple[str, str], batch: RGB8, out: RGB8) -> None:
        """Normalize a batch of any shape; a new one takes a while."""
        with self._alone, self.gpu.current():
            place = self._place(batch.shape, names)
            self.queue.copy_in(place.source, batch)
            place.session.run_with_iobinding(place.binding)
            self.queue.copy_out(out, place.target)
            self.queue.wait()

    def _place(self, shape: tuple[int, ...], names: tuple[str, str]) -> _Place:
        if shape not in self._places:
            if len(self._places) >= _SHAPES:
                self._free(next(iter(self._places)))
            session, size = self._load(shape), math.prod(shape)
            source, target = self.gpu.allocate(size), self.gpu.allocate(size)
            binding = session.io_binding()
            binding.bind_input(names[0], "cuda", self.gpu.ordinal, np.uint8, shape, source)
            binding.bind_output(names[1], "cuda", self.gpu.ordinal, np.uint8, shape, target)
            self._places[shape] = _Place(session, binding, source, target)
        return self._places[shape]

    def _free(self, shape: tuple[int, ...]) -> None:
        place = self._places.pop(shape)
        self.gpu.free(place.source)
        self.gpu.free(place.target)

    def close(self) -> None:
        """Release all of it."""
        with self._alone:
            for shape in list(self._places):
                self._free(shape)
            self.queue.close()


class _Place(NamedTuple):
    """Where frames of one shape are normalized."""

    session: Any
    binding: Any
    source: int
    target: int


def _free_axes(path: Path) -> tuple[str, ...]:
    """What the input's axes are called; "" for one whose size is fixed."""
    import onnx

    shape = onnx.load(path, load_external_data=False).graph.input[0].type.tensor_type.shape
    return tuple(str(dim.dim_param) for dim in shape.dim)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
