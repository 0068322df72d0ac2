"""What every engine has in common."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import TypeAlias

import numpy as np

from stainstream.color.lut import Lut
from stainstream.errors import EngineError, FrameError
from stainstream.frame import RGB8
from stainstream.model import Network
from stainstream.resource import Resource

__all__ = ["Artifact", "Engine"]

Artifact: TypeAlias = Lut | Network
"""What engines run."""


class Engine(Resource, ABC):
    """Runs one artifact on one device; call it inside a ``with`` block, from any thread.

    Parameters
    ----------
    artifact
        A table or a network.
    threads
        How many threads one call may use; all processors by default.

    Raises
    ------
    EngineError
        If the engine cannot run such an artifact.
    """

    def __init__(self, artifact: Artifact, threads: int | None = None) -> None:
        super().__init__()
        if (reason := self.incompatible(artifact)) is not None:
            raise EngineError(f"engine {type(self).__name__} cannot run {artifact.name!r}", reason)
        self.threads = threads or os.cpu_count() or 1

    @classmethod
    @abstractmethod
    def incompatible(cls, artifact: Artifact) -> str | None:
        """Why this engine cannot run `artifact`, or None if it can."""

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
        if not self._is_open:
            raise EngineError(f"engine {type(self).__name__} is closed", "use it inside a with block")
        source = _checked("the image", rgb)
        if out is None:
            target = out = np.empty(rgb.shape, np.uint8)
        else:
            target = _checked("out", out, rgb.shape)
            if not out.flags.c_contiguous or (
                target is not source and np.may_share_memory(rgb, out) and not _same(rgb, out)
            ):
                target = np.empty(rgb.shape, np.uint8)
        self._run(source, target)
        if target is not out:
            out[...] = target
        return out

    @abstractmethod
    def _run(self, rgb: RGB8, out: RGB8) -> None:
        """Normalize C-contiguous `rgb` into C-contiguous `out`; they are one buffer or do not overlap."""


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
