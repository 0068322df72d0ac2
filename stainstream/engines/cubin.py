"""Our CUDA kernels, compiled by NVRTC for the GPU at hand; the binary is kept."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from stainstream.config import cache_folder
from stainstream.errors import EngineError, MissingExtra

from .gpu import Gpu

__all__ = ["THREADS", "compiled", "kernels", "source"]

_log = logging.getLogger(__name__)

THREADS = {"lut16": 256, "lut4": 256, "lut1": 256, "bake": 128}
"""Threads a block of each kernel, as its ``__launch_bounds__`` says."""


def source() -> str:
    """The kernels' text."""
    return Path(__file__).with_name("lut_rgb8.cu").read_text(encoding="utf-8")


def compiled(capability: tuple[int, int], *, anew: bool = False) -> bytes:
    """The kernels for a GPU of this compute capability; needs no GPU and no CUDA toolkit.

    Parameters
    ----------
    anew
        Whether to compile even if a binary of this very text is kept.

    Raises
    ------
    EngineError
        If the installed NVRTC does not know such a GPU, or is broken.
    MissingExtra
        If ``cuda.core`` is not installed.
    """
    try:
        from cuda.bindings import nvrtc
        from cuda.core import Program, ProgramOptions
    except ImportError as error:
        raise MissingExtra("cannot compile the kernels", error.name or "cuda.core", "gpu") from error
    try:
        kind, architecture = _target(capability, nvrtc)
        program = Program(source(), "c++", ProgramOptions(arch=architecture, name="lut_rgb8"))
        return bytes(program.compile(kind, cache=None if anew else _cache()).code)
    except (RuntimeError, OSError) as error:  # what cuda.core and cuda.pathfinder raise
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise EngineError(
            "cannot compile the kernels", first, "run: pip install --force-reinstall 'stainstream[gpu]'"
        ) from error


def _target(capability: tuple[int, int], nvrtc: Any) -> tuple[str, str]:
    """What to ask NVRTC for: machine code, or for a GPU newer than itself a text that the driver translates."""
    code, known = nvrtc.nvrtcGetSupportedArchs()
    _, *release = nvrtc.nvrtcVersion()
    if code:
        raise EngineError("cannot compile the kernels", f"NVRTC fails ({code.name})")
    major, minor = capability
    fitting = [each for each in known if each // 10 == major and each % 10 <= minor]
    if fitting:
        return "cubin", f"sm_{max(fitting)}"
    if 10 * major + minor > max(known):
        return "ptx", f"compute_{max(known)}"
    lowest = min(known)
    raise EngineError(
        "cannot compile the kernels",
        f"the GPU is too old: it has compute capability {major}.{minor}, NVRTC {'.'.join(map(str, release))} needs"
        f" {lowest // 10}.{lowest % 10}",
        "use: --engine lut_numba, or see docs/gpu.md for the packages of CUDA 12",
    )


def _cache() -> Any:
    from cuda.core.utils import FileStreamProgramCache

    try:
        return FileStreamProgramCache(cache_folder() / "kernels", max_size_bytes=16 << 20)
    except OSError as error:
        _log.warning("cannot keep compiled kernels in %s: %s", cache_folder(), error.strerror or error)
        return None


def kernels(gpu: Gpu, *names: str) -> list[Any]:
    """The kernels `names` on `gpu`; a kept binary that is damaged is compiled again.

    Raises
    ------
    EngineError, MissingExtra
        As `compiled`.
    """
    try:
        return gpu.load(compiled(gpu.capability), *names)
    except EngineError as error:
        _log.debug("compiling again: %s", error)
        return gpu.load(compiled(gpu.capability, anew=True), *names)
