"""A frame: pixels, how to read them, and what came with them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stainstream.errors import FrameError
from stainstream.receipt import Receipt

__all__ = ["RGB8", "Frame", "PixelFormat"]

RGB8: TypeAlias = NDArray[np.uint8]
"""An RGB image in host memory: shape (height, width, 3), C-contiguous."""

_CHANNELS = {"Mono": 1, "RGB": 3, "BGR": 3, "RGBa": 4, "BGRa": 4, "YUV422_": 2}


class PixelFormat(Enum):
    """How the numbers of an image are to be read, by their GenICam PFNC names.

    Formats of more than 8 bits stand in the low bits of 16-bit words, as PFNC's unpacked formats do.
    ``BayerRG`` names the first two pixels of the first row (red, green), PFNC's convention. ``RGB8_Planar`` has shape
    (3, height, width); ``YUV422_8`` is packed Y0 U Y1 V, of shape (height, width, 2).

    Source: EMVA, GenICam Pixel Format Naming Convention 2.4.
    """

    Mono8 = "Mono8"
    Mono10 = "Mono10"
    Mono12 = "Mono12"
    Mono14 = "Mono14"
    Mono16 = "Mono16"
    BayerRG8 = "BayerRG8"
    BayerRG10 = "BayerRG10"
    BayerRG12 = "BayerRG12"
    BayerRG16 = "BayerRG16"
    BayerGR8 = "BayerGR8"
    BayerGR10 = "BayerGR10"
    BayerGR12 = "BayerGR12"
    BayerGR16 = "BayerGR16"
    BayerGB8 = "BayerGB8"
    BayerGB10 = "BayerGB10"
    BayerGB12 = "BayerGB12"
    BayerGB16 = "BayerGB16"
    BayerBG8 = "BayerBG8"
    BayerBG10 = "BayerBG10"
    BayerBG12 = "BayerBG12"
    BayerBG16 = "BayerBG16"
    RGB8 = "RGB8"
    RGB10 = "RGB10"
    RGB12 = "RGB12"
    RGB14 = "RGB14"
    RGB16 = "RGB16"
    RGB8_Planar = "RGB8_Planar"
    RGB16_Planar = "RGB16_Planar"
    RGBa8 = "RGBa8"
    BGR8 = "BGR8"
    BGR10 = "BGR10"
    BGR12 = "BGR12"
    BGR16 = "BGR16"
    BGRa8 = "BGRa8"
    YUV422_8 = "YUV422_8"

    def __init__(self, name: str) -> None:
        match = re.fullmatch(r"([A-Za-z]+(?:422_)?)(\d+)(_Planar)?", name)
        assert match is not None, name
        self.order: str = match[1]
        self.bits: int = int(match[2])
        self.planar: bool = bool(match[3])
        self.dtype: np.dtype[Any] = np.dtype(np.uint8 if self.bits == 8 else np.uint16)
        self.channels: int = 1 if self.order.startswith("Bayer") else _CHANNELS[self.order]

    @property
    def is_bayer(self) -> bool:
        """Whether one color a pixel was measured, behind a color filter array."""
        return self.order.startswith("Bayer")

    @classmethod
    def named(cls, name: str) -> PixelFormat:
        """Find a format by its PFNC name.

        Raises
        ------
        FrameError
            If the name is not one that can be converted.

        Examples
        --------
        >>> PixelFormat.named("BayerRG12").bits
        12
        """
        try:
            return cls(name)
        except ValueError as error:
            known = ", ".join(each.value for each in cls)
            raise FrameError(f"unknown pixel format {name!r}", f"known PFNC names are {known}") from error

    def shape(self, height: int, width: int) -> tuple[int, ...]:
        """Shape of an image of `height` rows and `width` columns."""
        if self.planar:
            return (self.channels, height, width)
        return (height, width) if self.channels == 1 else (height, width, self.channels)

    def size(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Height and width of an image of this format.

        Raises
        ------
        FrameError
            If `shape` cannot be an image of this format, or has no pixels.
        """
        axes = shape[1:] if self.planar else shape[:2]
        if len(axes) != 2 or self.shape(*axes) != shape or 0 in shape:
            wanted = self.shape(-1, -1)
            drawn = ", ".join(str(n) if n > 0 else letter for n, letter in zip(wanted, self._letters(), strict=True))
            raise FrameError(f"shape {shape} is not a {self.value} image", f"its shape is ({drawn}), no axis empty")
        return axes[0], axes[1]

    def _letters(self) -> str:
        return "CHW" if self.planar else "HWC"[: 2 if self.channels == 1 else 3]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One image on its way through the stream.

    Raises
    ------
    FrameError
        If the image's shape or dtype is not what `format` says.
    """

    image: NDArray[Any]
    """(height, width) or (height, width, channels), uint8 or uint16; planar formats have their channels first.

    A writeable image belongs to whoever is given the frame, who may overwrite it: a fresh buffer would push the table
    out of the processor's cache. Whoever still needs the pixels passes them on read-only.
    """
    format: PixelFormat
    """How to read `image`."""
    seq: int = 0
    """Running number, set by the source; a gap means that frames were lost before they reached us."""
    captured_ns: int = 0
    """When the frame was captured, in nanoseconds of this host's monotonic clock (`time.monotonic_ns`)."""
    meta: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """What came with the frame (stage position, slide, pixel size): passed through untouched."""
    raw: RGB8 | None = None
    """Of a normalized frame: its pixels before, where a sink asked for them (`Sink.wants_raw`); to be read only."""
    receipt: Receipt | None = None
    """Of a feed that keeps its tiles: who tells it what became of this one."""

    def __post_init__(self) -> None:
        if self.image.dtype != self.format.dtype:
            raise FrameError(f"a {self.format.value} image of {self.image.dtype}", f"it must be {self.format.dtype}")
        self.format.size(self.image.shape)

    @property
    def height(self) -> int:
        """Rows."""
        return self.format.size(self.image.shape)[0]

    @property
    def width(self) -> int:
        """Columns."""
        return self.format.size(self.image.shape)[1]
