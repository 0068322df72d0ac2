"""Frames between processes of one computer, in shared memory."""

from .reader import RingReader
from .writer import RingWriter

__all__ = ["RingReader", "RingWriter"]
