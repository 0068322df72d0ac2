"""TensorRT plans: built from ONNX, kept under a name that says what they are for, trusted only where they are ours."""

from __future__ import annotations

import hashlib
import importlib
import logging
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from stainstream.config import cache_folder
from stainstream.errors import EngineError, MissingExtra
from stainstream.wholefile import write_whole

__all__ = ["Precision", "Profile", "TensorRT", "folder", "kept", "plan_name", "save"]

_log = logging.getLogger(__name__)

Precision: TypeAlias = Literal["fp32", "fp16", "int8"]

_PACKAGES = {
    # By preference. Of TensorRT, 10 and 11: what wants a GPU to build, and runs on all of them.
    "trt": ("tensorrt", "tensorrt_bindings"),
    "rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
_DIGEST = hashlib.sha256().digest_size
_FORMAT = "1"  # part of the name: to be raised when the same network would be built otherwise


@dataclass(frozen=True, slots=True)
class Profile:
    """The sizes that a plan is for: any from the least to the most, best at the usual one."""

    batch: int = 2
    """Most images at a time."""
    height: int = 1088
    width: int = 1920
    least: int = 16
    usual: int = 512

    @property
    def shapes(self) -> tuple[tuple[int, int, int, int], ...]:
        """Least, usual and largest shape, each (n, height, width, 3)."""
        usual = (1, min(self.usual, self.height), min(self.usual, self.width), 3)
        return (1, self.least, self.least, 3), usual, (self.batch, self.height, self.width, 3)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether (n, height, width, 3) lies within."""
        least, _, most = self.shapes
        return all(low <= size <= high for low, size, high in zip(least, shape, most, strict=True))

    def __str__(self) -> str:
        return f"1 to {self.batch} images of {self.least}x{self.least} to {self.width}x{self.height}"


class TensorRT:
    """TensorRT 10 or 11, or TensorRT-RTX, whichever is installed: one path for all.

    Networks are strongly typed: each tensor is computed in the precision that the ONNX graph names.

    Parameters
    ----------
    flavor
        ``"trt"`` or ``"rtx"``; the first that is installed by default.

    Raises
    ------
    MissingExtra
        If it is not installed.
    EngineError
        If it is, and cannot be loaded.
    """

    def __init__(self, flavor: str | None = None) -> None:
        self.flavor, self.module = _found(flavor)
        self.version = str(self.module.__version__)
        self.said: list[str] = []
        """The errors that it logged."""
        self.logger = _logger(self.module, self.said)
        self._runtime: Any = None  # outlives the engines that it loads

    def build(self, network: bytes, profile: Profile) -> bytes:
        """Build a plan.

        Parameters
        ----------
        network
            An ONNX file, uint8 (N, H, W, 3) in and out.

        Raises
        ------
        EngineError
            If TensorRT cannot read or build it.
        """
        trt = self.module
        self.said.clear()
        builder = trt.Builder(self.logger)
        if builder is None:
            raise self._failed("cannot start TensorRT")
        definition = builder.create_network(_typed(trt))
        parser = trt.OnnxParser(definition, self.logger)
        if not parser.parse(network):
            found = "; ".join(str(parser.get_error(k).desc()) for k in range(parser.num_errors))
            raise EngineError("TensorRT cannot read the network", _one_line(found))
        settings = builder.create_builder_config()
        wanted = builder.create_optimization_profile()
        wanted.set_shape(definition.get_input(0).name, *profile.shapes)
        settings.add_optimization_profile(wanted)
        plan = builder.build_serialized_network(definition, settings)
        if plan is None:
            raise self._failed("TensorRT cannot build a plan")
        return bytes(plan)

    def load(self, plan: bytes) -> Any:
        """The engine of a plan, ready to make contexts.

        Raises
        ------
        EngineError
            If this GPU, driver or version cannot run it.
        """
        self.said.clear()
        self._runtime = self._runtime or self.module.Runtime(self.logger)
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise self._failed("this GPU, driver or version of TensorRT cannot run the plan")
        return engine

    def _failed(self, what: str) -> EngineError:
        return EngineError(what, _one_line(self.said[-1]) if self.said else "it does not say why")


def _found(flavor: str | None) -> tuple[str, Any]:
    for name, modules in _PACKAGES.items():
        for module in modules if flavor in (None, name) else ():
            try:
                return name, importlib.import_module(module)
            except ModuleNotFoundError:
                continue
            except (ImportError, OSError, RuntimeError) as error:  # the libraries beneath it
                raise EngineError(f"cannot load {module}", _one_line(str(error))) from error
    raise MissingExtra("cannot use TensorRT", "tensorrt", "tensorrt")


def _typed(trt: Any) -> int:
    """Flags for a strongly typed network; TensorRT 11 knows no other kind, and may not know the flag."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _logger(trt: Any, said: list[str]) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                said.append(message)
            _log.debug("TensorRT: %s", message)

    return Logger()


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]


def plan_name(
    name: str, digest: str, profile: Profile, precision: Precision, tensorrt: TensorRT, gpu: tuple[int, int, str] | None
) -> str:
    """What a plan's file is called: whatever would make it another plan is part of it.

    Parameters
    ----------
    name, digest
        The model's.
    gpu
        Compute capability, major and minor, and the GPU's name; None for a plan that is built without one, as only
        TensorRT-RTX can: from compute capability 8.0 on, its plans are not bound to a GPU.
    """
    key = hashlib.sha256(f"{_FORMAT} {digest} {profile.shapes} {precision}".encode()).hexdigest()[:16]
    bound = gpu is not None and (tensorrt.flavor != "rtx" or gpu[0] < 8)
    place = f"sm{gpu[0]}{gpu[1]}-{gpu[2]}" if gpu is not None and bound else "portable"
    text = f"{name}_{precision}_{key}_{tensorrt.flavor}{tensorrt.version}_{place}"
    return re.sub(r"[^A-Za-z0-9_.+-]+", "-", text) + ".plan"


def folder() -> Path:
    """Where plans are kept; safe to delete at any time."""
    return cache_folder() / "plans"


def save(name: str, plan: bytes) -> Path:
    """Keep a plan under its name, with its SHA-256 behind it.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    path = folder() / name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_whole(path, plan + hashlib.sha256(plan).digest())
    path.chmod(0o600)
    return path


def kept(name: str) -> bytes | None:
    """The plan that is kept under `name`; None if there is none, it is damaged, or others may have written it.

    A plan is a program: one that somebody else could have put here is not run.
    """
    path = folder() / name
    try:
        about = path.stat()
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.warning("building a plan anew: cannot read %s: %s", path, error.strerror or error)
        return None
    if os.name == "posix" and (about.st_uid != os.getuid() or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
        _log.warning("building a plan anew: others may have written %s", path)
        return None
    plan, digest = data[:-_DIGEST], data[-_DIGEST:]
    if hashlib.sha256(plan).digest() != digest:
        _log.warning("building a plan anew: %s is damaged", path)
        return None
    return plan
