"""Any source, seen through a camera profile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from stainstream.color.convert import to_rgb8
from stainstream.color.flatfield import CameraProfile, Correction
from stainstream.errors import FrameError, SourceError
from stainstream.frame import Frame, PixelFormat

from .base import Source

__all__ = ["Profiled"]


class Profiled(Source):
    """The frames of another source with even light and white glass, as RGB8.

    They are corrected on the thread that iterates, so before anything else sees them. ``meta`` holds
    ``camera_profile``, the profile's name. Everything else is the other source's: counters, options, further abilities.
    """

    def __init__(self, source: Source, profile: CameraProfile) -> None:
        self._source, self._correction = source, Correction(profile)
        super().__init__(source.target, source.options)
        self.rejected, self.stopping = source.rejected, source.stopping

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_source"], name)

    @property
    def lost(self) -> int:
        return self._source.lost

    @lost.setter
    def lost(self, count: int) -> None:
        self._source.lost = count

    @property
    def counts(self) -> Mapping[str, int]:
        return self._source.counts

    @property
    def waits(self) -> bool:
        return self._source.waits

    def stop(self) -> None:
        self._source.stop()

    def _open(self) -> None:
        self._source.open()

    def _close(self) -> None:
        self._source.close()

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._source:
            try:
                yield self._corrected(frame)
            except FrameError as error:
                raise SourceError(f"cannot correct the frames of {self.target}", str(error)) from error

    def _corrected(self, frame: Frame) -> Frame:
        rgb = to_rgb8(frame.image, frame.format)
        ours = rgb is not frame.image or rgb.flags.writeable
        out = self._correction(rgb, rgb if ours else np.empty_like(rgb))
        meta = {**frame.meta, "camera_profile": self._correction.profile.name}
        return replace(frame, image=out, format=PixelFormat.RGB8, meta=meta)
