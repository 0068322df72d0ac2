"""Nowhere."""

from __future__ import annotations

from stainstream.frame import Frame

from .base import Sink

__all__ = ["Null"]


class Null(Sink):
    """Throws frames away."""

    def write(self, frame: Frame) -> None:
        """Let go of `frame`."""
