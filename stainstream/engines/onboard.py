"""Images that lie on the GPU already, by the protocols that array libraries share."""

from __future__ import annotations

import math
from dataclasses import dataclass

from stainstream.errors import FrameError

__all__ = ["Onboard", "check_pair", "handle_of", "is_onboard", "onboard"]

_CUDA = 2  # DLPack's number for a CUDA device


@dataclass(frozen=True, slots=True)
class Onboard:
    """An image in a GPU's memory."""

    address: int
    shape: tuple[int, ...]
    read_only: bool
    holder: object
    """Keeps the memory alive."""

    @property
    def size(self) -> int:
        """Bytes."""
        return math.prod(self.shape)


def is_onboard(image: object) -> bool:
    """Whether `image` lies on an NVIDIA GPU: an array of torch, CuPy, Numba, Holoscan."""
    if hasattr(image, "__cuda_array_interface__"):
        return True
    where = getattr(image, "__dlpack_device__", None)
    return where is not None and int(where()[0]) == _CUDA


def handle_of(stream: object) -> int:
    """Address of a CUDA stream: of a number, of torch's and CuPy's, of anything with ``__cuda_stream__``."""
    for name in ("cuda_stream", "ptr"):
        if isinstance(found := getattr(stream, name, None), int):
            return found
    if hasattr(stream, "__cuda_stream__"):
        return int(stream.__cuda_stream__()[1])
    if isinstance(stream, int):
        return stream
    raise FrameError(f"the stream is {type(stream).__name__}", "a CUDA stream, or its address, is needed")


def onboard(what: str, image: object, ordinal: int, stream: int) -> Onboard:
    """View an image, in place.

    Parameters
    ----------
    what
        What to call it in messages.
    ordinal
        The GPU that it must lie on.
    stream
        Address of the stream that shall wait for whatever still writes the image.

    Raises
    ------
    FrameError
        If it is not uint8 (height, width, 3) or (n, height, width, 3), C-contiguous, on that GPU.
    """
    from cuda.core.utils import StridedMemoryView

    try:
        view = StridedMemoryView.from_any_interface(image, stream_ptr=stream)
        shape, strides, dtype = tuple(view.shape), view.strides, view.dtype
    except (BufferError, TypeError, ValueError, RuntimeError, NotImplementedError, AssertionError) as error:
        raise FrameError(f"{what} cannot be read", str(error) or type(error).__name__) from error
    if str(dtype) != "uint8":
        raise FrameError(f"{what} is {dtype}", "a uint8 array is needed")
    if len(shape) not in (3, 4) or shape[-1] != 3 or 0 in shape:
        raise FrameError(f"{what} has shape {shape}", "(height, width, 3) or (n, height, width, 3) is needed")
    if strides is not None and not _contiguous(shape, tuple(strides)):
        raise FrameError(f"{what} is not C-contiguous", f"its strides are {tuple(strides)}", "copy it first")
    if view.device_id != ordinal:
        raise FrameError(f"{what} lies on GPU {view.device_id}", f"the engine runs on GPU {ordinal}")
    return Onboard(int(view.ptr), shape, bool(view.readonly), view)


def check_pair(source: Onboard, target: Onboard) -> None:
    """Refuse an output that is of another shape, cannot be written, or overlaps the image without being it.

    Raises
    ------
    FrameError
        If it is so.
    """
    if target.shape != source.shape or target.read_only:
        raise FrameError(f"out has shape {target.shape}", f"a writeable array of shape {source.shape} is needed")
    if 0 < abs(source.address - target.address) < source.size:
        raise FrameError("out overlaps the image", "the same array, or another one, is needed")


def _contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    expected = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True
