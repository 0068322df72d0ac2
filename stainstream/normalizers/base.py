"""What every normalizer has in common."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from stainstream.color.lut import Colors

__all__ = ["Normalizer"]


@runtime_checkable
class Normalizer(Protocol):
    """Says which color becomes which; knows no device."""

    @property
    def name(self) -> str:
        """What it is called in lists, cards and wire headers."""

    def __call__(self, rgb: Colors) -> Colors:
        """Map colors of shape (..., 3) in [0, 1] to the same shape, each on its own; values may leave [0, 1]."""
