"""Real-time stain normalization for microscopes and slide scanners.

Importing this package loads nothing but NumPy; each name below is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import Normalizer, load, open_sink, open_source
    from .color.lut import Lut, bake
    from .errors import StainstreamError
    from .frame import RGB8, Frame, PixelFormat
    from .stream.pipeline import Pipeline

__version__ = "0.1.0"

__all__ = [
    "RGB8",
    "Frame",
    "Lut",
    "Normalizer",
    "Pipeline",
    "PixelFormat",
    "StainstreamError",
    "bake",
    "load",
    "open_sink",
    "open_source",
]

_HOMES = {
    "api": ("Normalizer", "load", "open_sink", "open_source"),
    "color.lut": ("Lut", "bake"),
    "errors": ("StainstreamError",),
    "frame": ("RGB8", "Frame", "PixelFormat"),
    "stream.pipeline": ("Pipeline",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
