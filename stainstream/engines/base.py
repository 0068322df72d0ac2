"""What every engine has in common."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias, TypeVar

import numpy as np

from stainstream.color.lut import Lut
from stainstream.config import Settings
from stainstream.errors import EngineError, FrameError
from stainstream.frame import RGB8
from stainstream.model import Network
from stainstream.resource import Resource

__all__ = ["Artifact", "Engine"]

Artifact: TypeAlias = Lut | Network
"""What engines run."""

Image = TypeVar("Image")

_NONE: Mapping[str, int] = MappingProxyType({})


class Engine(Resource, ABC):
    """Runs one artifact on one device; call it inside a ``with`` block, from any thread.

    Parameters
    ----------
    artifact
        A table or a network.
    threads
        How many threads one call may use; all processors by default.
    options
        The engine's frozen settings, of type `Options`; their defaults if None.

    Raises
    ------
    EngineError
        If the engine cannot run such an artifact.
    """

    Options: type[Settings] = Settings

    def __init__(self, artifact: Artifact, threads: int | None = None, options: Settings | None = None) -> None:
        super().__init__()
        self.artifact, self.options = artifact, options or self.Options()
        if (reason := self.incompatible(artifact)) is not None:
            raise EngineError(f"engine {type(self).__name__} cannot run {artifact.name!r}", reason)
        self.threads = threads or os.cpu_count() or 1

    @classmethod
    @abstractmethod
    def incompatible(cls, artifact: Artifact) -> str | None:
        """Why this engine cannot run `artifact`, or None if it can."""

    @property
    def title(self) -> str:
        """Name of what runs."""
        return type(self).__name__

    @property
    def counts(self) -> Mapping[str, int]:
        """What went wrong and was set right, by name."""
        return _NONE

    @property
    def detail(self) -> str:
        """What a user wants to know about how it runs here, in a few words."""
        return f"{self.threads} thread{'s' if self.threads > 1 else ''}"

    def __call__(self, rgb: RGB8, out: RGB8 | None = None) -> RGB8:
        """Normalize an image or a batch.

        Parameters
        ----------
        rgb
            uint8, shape (height, width, 3) or (n, height, width, 3); any strides.
        out
            Where to write, of the same shape and dtype, any strides; may be `rgb` itself. Allocated if None.

        Returns
        -------
        `out`.

        Raises
        ------
        FrameError
            If `rgb` or `out` is not such an array, or is empty.
        EngineError
            If the engine is closed or failed.
        """
        source, target, out = self._prepared(rgb, out)
        self._run(source, target)
        if target is not out:
            out[...] = target
        return out

    def _prepared(self, rgb: RGB8, out: RGB8 | None) -> tuple[RGB8, RGB8, RGB8]:
        """What to read and what to write, C-contiguous, and where the latter is to be copied if it is another array."""
        self._check_open()
        source = _checked("the image", rgb)
        if out is None:
            target = out = np.empty(rgb.shape, np.uint8)
        else:
            target = _checked("out", out, rgb.shape)
            if not out.flags.c_contiguous or (
                target is not source and np.may_share_memory(rgb, out) and not _same(rgb, out)
            ):
                target = np.empty(rgb.shape, np.uint8)
        return source, target, out

    def _check_open(self) -> None:
        if not self._is_open:
            raise EngineError(f"engine {type(self).__name__} is closed", "use it inside a with block")

    def submit(self, rgb: RGB8, out: RGB8) -> Callable[[], RGB8]:
        """Begin to normalize an image: as `__call__`, with `out` complete when the result was called, which gives it.

        Neither image may be touched before that. An engine that computes here has finished when this returns.

        Raises
        ------
        FrameError, EngineError
            As `__call__`; also from the result.
        """
        source, target, out = self._prepared(rgb, out)
        finish = self._start(source, target)

        def finished() -> RGB8:
            finish()
            if target is not out:
                out[...] = target
            return out

        return finished

    @property
    def depth(self) -> int:
        """How many images it makes sense to have begun at a time."""
        return 1

    @property
    def pins(self) -> bool:
        """Whether images in memory from `buffer` save it a copy, so that none should be normalized in place."""
        return False

    def buffer(self, height: int, width: int) -> RGB8:
        """A new image of undefined contents, where the engine reads and writes it best."""
        return np.empty((height, width, 3), np.uint8)

    def onboard(self, image: Image, out: Image | None = None, stream: object = None) -> Image:
        """Normalize an image or a batch that lies on the GPU, without a round trip.

        Parameters
        ----------
        image
            Anything with DLPack or ``__cuda_array_interface__`` (torch, CuPy, Holoscan): uint8 (height, width, 3) or
            (n, height, width, 3), C-contiguous. It is normalized in place unless `out` is given.
        out
            Where to write, of the same shape.
        stream
            The CUDA stream to run on: a table is then looked up after this returns. By default all is done by then.

        Returns
        -------
        `out`, or `image`.

        Raises
        ------
        FrameError
            If `image` or `out` is not such an array, or the engine computes on the processor.
        EngineError
            If the engine is closed or failed.
        """
        target = image if out is None else out
        self._check_open()
        self._onboard(image, target, stream)
        return target

    def _onboard(self, image: object, out: object, stream: object) -> None:  # noqa: ARG002 - for those who override it
        raise FrameError(
            f"the image is a {type(image).__name__} on a GPU",
            f"engine {type(self).__name__} computes elsewhere",
            "load the model with engine='lut_cuda', or copy the image to the host",
        )

    def _start(self, rgb: RGB8, out: RGB8) -> Callable[[], None]:
        """Begin what `_run` does, with the same arguments; what this gives returns when it is done."""
        self._run(rgb, out)
        return _nothing

    @abstractmethod
    def _run(self, rgb: RGB8, out: RGB8) -> None:
        """Normalize C-contiguous `rgb` into C-contiguous `out`; they are one buffer or do not overlap."""


def _nothing() -> None:
    """Nothing is left to be done."""


def _checked(what: str, image: RGB8, shape: tuple[int, ...] | None = None) -> RGB8:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise FrameError(f"{what} is {kind}", "a uint8 array is needed")
    if image.ndim not in (3, 4) or image.shape[-1] != 3 or image.size == 0:
        raise FrameError(f"{what} has shape {image.shape}", "(height, width, 3) or (n, height, width, 3) is needed")
    if shape is not None and (image.shape != shape or not image.flags.writeable):
        raise FrameError(f"out has shape {image.shape}", f"a writeable array of shape {shape} is needed")
    return image if image.flags.c_contiguous or shape is not None else np.ascontiguousarray(image)


def _same(rgb: RGB8, out: RGB8) -> bool:
    return bool(rgb.ctypes.data == out.ctypes.data and rgb.strides == out.strides)
