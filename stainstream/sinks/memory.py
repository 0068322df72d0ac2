"""Frames kept at hand."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from typing import Annotated

import msgspec

from stainstream.config import Settings
from stainstream.frame import Frame

from .base import Sink

__all__ = ["Memory"]


class Memory(Sink):
    """Keeps copies of the last frames, for notebooks and tests; they stay when the sink is closed."""

    class Options(Settings, frozen=True, kw_only=True):
        """What can be set."""

        keep: Annotated[int, msgspec.Meta(ge=0)] = 0
        """How many frames; 0 for all."""

    options: Options

    def __init__(self, target: str, options: Options) -> None:
        super().__init__(target, options)
        self._kept: deque[Frame] = deque(maxlen=options.keep or None)
        self._writing = threading.Lock()

    @property
    def frames(self) -> list[Frame]:
        """The frames kept so far, oldest first; from any thread."""
        with self._writing:
            return list(self._kept)

    def write(self, frame: Frame) -> None:
        """Keep a copy of `frame`."""
        copied = replace(frame, image=frame.image.copy())
        with self._writing:
            self._kept.append(copied)
