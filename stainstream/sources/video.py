"""Frames of a video file."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import cv2
import msgspec

from stainstream.config import Settings
from stainstream.errors import SourceError
from stainstream.frame import Frame, PixelFormat
from stainstream.opencv import quiet

from .base import Source
from .pace import Pace

__all__ = ["Video"]

_log = logging.getLogger(__name__)


class Video(Source):
    """The frames of a video file, decoded by FFmpeg.

    ``meta`` holds ``video``, the file's name, and ``time_ms``, where in it the frame stands. Frames that cannot be
    decoded are counted as ``undecodable frame``. When the file ends before its own count of frames, as a truncated one
    does, the missing ones are logged and counted as lost.
    """

    class Options(Settings, frozen=True, kw_only=True):
        """What can be set."""

        loop: bool = False
        """Whether to begin anew at the end."""
        rate: Annotated[float, msgspec.Meta(ge=0, le=1e6)] = 0.0
        """Frames a second; 0 for as many as are taken."""
        realtime: bool = False
        """Whether to keep to the file's own rate, where it has one, instead of `rate`."""

    options: Options

    def __init__(self, target: str, options: Options) -> None:
        super().__init__(target, options)
        self._capture: cv2.VideoCapture | None = None

    @property
    def waits(self) -> bool:
        """A file waits."""
        return True

    def _open(self) -> None:
        quiet()
        if not Path(self.target).is_file():
            raise SourceError(f"cannot read {self.target}", "there is no such file")
        self._capture = self._begun()

    def _close(self) -> None:
        self._capture = None  # not `release`: another thread may be reading; whoever lets go last releases it

    def __iter__(self) -> Iterator[Frame]:
        if (capture := self._capture) is None:
            raise SourceError(f"cannot read {self.target}", "it is not open")
        pace, seq = Pace(self._rate(capture), self.stopping), 0
        while True:
            before = seq
            for frame in self._frames(capture):
                if not pace.wait():
                    return
                yield replace(frame, seq=seq, captured_ns=time.monotonic_ns())
                seq += 1
            if seq == before:
                raise SourceError(f"cannot read {self.target}", "no frame of it could be decoded")
            if not self.options.loop:
                return
            capture = self._begun()

    def _frames(self, capture: cv2.VideoCapture) -> Iterator[Frame]:
        """One pass over the file, whose first frame was grabbed already."""
        promised, seen, more = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0, True
        while more:
            meta = {"video": Path(self.target).name, "time_ms": capture.get(cv2.CAP_PROP_POS_MSEC)}
            decoded, image = capture.retrieve()
            if decoded:
                yield Frame(image, PixelFormat.BGR8, meta=meta)
            else:
                self.rejected["undecodable frame"] += 1
            seen, more = seen + 1, capture.grab()
        if seen < promised:
            self.lost += promised - seen
            _log.warning("%s ends after %d of the %d frames that it promises", self.target, seen, promised)

    def _begun(self) -> cv2.VideoCapture:
        """The file at its first frame, which proves that there is one."""
        capture = cv2.VideoCapture(self.target, cv2.CAP_FFMPEG)
        if not capture.grab():
            reason = "FFmpeg cannot read it: it is damaged, cut short, or of a kind that FFmpeg does not know"
            raise SourceError(f"cannot read {self.target}", reason, "play it in another program to see which")
        return capture

    def _rate(self, capture: cv2.VideoCapture) -> float:
        own = capture.get(cv2.CAP_PROP_FPS) if self.options.realtime else 0.0
        return own if own > 0 else self.options.rate
