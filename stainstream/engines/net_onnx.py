"""Networks in ONNX Runtime, on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from stainstream.errors import EngineError
from stainstream.frame import RGB8
from stainstream.model import Network

from .base import Artifact, Engine

__all__ = ["NetOnnx"]


class NetOnnx(Engine):
    """Runs an ONNX network, uint8 (N, H, W, 3) in and out, for methods that are not pixelwise."""

    def __init__(self, artifact: Artifact, threads: int | None = None) -> None:
        super().__init__(artifact, threads)
        assert isinstance(artifact, Network)
        self._network = artifact
        self._session: Any = None

    @classmethod
    def incompatible(cls, artifact: Artifact) -> str | None:
        return None if isinstance(artifact, Network) else "it is a table, which the table engines run"

    @property
    def detail(self) -> str:
        return f"{super().detail}, CPUExecutionProvider"

    def _open(self) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(self._network.path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise EngineError(f"cannot load {self._network.path}", _first_line(error)) from error
        self._input = self._session.get_inputs()[0].name

    def _close(self) -> None:
        self._session = None

    def _run(self, rgb: RGB8, out: RGB8) -> None:
        batch = rgb if rgb.ndim == 4 else rgb[None]
        try:
            (result,) = self._session.run(None, {self._input: batch})
        except Exception as error:
            raise EngineError(f"{self._network.name!r} failed on shape {batch.shape}", _first_line(error)) from error
        if result.shape != batch.shape or result.dtype != np.uint8:
            raise EngineError(f"{self._network.name!r} gave {result.dtype}{list(result.shape)}", f"for {batch.shape}")
        np.copyto(out.reshape(batch.shape), result)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
