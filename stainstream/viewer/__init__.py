"""The live page: one server, a frame and its raw pixels side by side, for as many viewers as look."""

from .sink import View

__all__ = ["View"]
