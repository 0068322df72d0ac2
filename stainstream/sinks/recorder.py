"""A recorder: armed or not, each start into files of its own."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from stainstream import recording
from stainstream.errors import SinkError
from stainstream.frame import RGB8, Frame, PixelFormat
from stainstream.recording.base import Encoding, Shot
from stainstream.recording.take import Take

from .base import Sink

__all__ = ["Recorder"]

_log = logging.getLogger(__name__)

_CATCH_UP = 2  # frames recorded for each that comes in, until the ones from before the start are done


class Recorder(Sink):
    """Records into ``FILE.mp4``, ``FILE.ome.tiff`` or ``FILE.ome.zarr``, from the start or when it is told to.

    A recording that cannot go on, because the disk is full for example, ends by itself: what was stored stays readable,
    the reason is logged, frames from then on are counted, and the stream goes on, a lossless one too.
    """

    backlog = 30  # a disk that empties its caches stands still for the better part of a second

    class Options(Encoding, frozen=True, kw_only=True):
        """What can be set."""

        what: Literal["normalized", "raw", "both"] = "normalized"
        """Which pixels: the normalized ones, those from before, or both, into files of their own."""
        preroll: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.0
        """Seconds from before the start that a recording begins with."""
        preroll_mb: Annotated[int, msgspec.Meta(ge=1)] = 1024
        """Megabytes of memory that these may take; where that is too little, the recording begins later."""
        start: bool = True
        """Whether to record from the first frame, or to wait until it is told to."""
        pixel_size_um: Annotated[float, msgspec.Meta(gt=0)] | None = None
        """Edge of a pixel on the specimen; None for what the frames say."""

    options: Options

    def __init__(self, target: str, options: Options) -> None:
        super().__init__(target, options)
        self._path = Path(target.removeprefix("record:"))
        recording.TABLE.serving(self._path.name).load()
        self._streams = ("normalized", "raw") if options.what == "both" else (options.what,)
        self._writing = threading.Lock()
        self._waiting: deque[Shot] = deque()  # oldest first
        self._bytes = 0
        self._armed = False
        self._take: Take | None = None
        self._recorded = self._missed = 0
        self.files: list[Path] = []
        """What was recorded so far, or is being recorded."""
        self.error = ""
        """Why the last recording ended, if it failed."""

    @property
    def recording(self) -> bool:
        """Whether frames are being recorded."""
        return self._armed

    @property
    def counts(self) -> Mapping[str, int]:
        counts = {"recorded": self._recorded, "not recorded": self._missed}
        return {what: count for what, count in counts.items() if count}

    @property
    def wants_raw(self) -> bool:
        return "raw" in self._streams and (self._armed or self.options.preroll > 0)

    def record(self, *, on: bool) -> None:
        """Start or end a recording, from any thread; asking for what is already so does nothing.

        Raises
        ------
        SinkError
            If it cannot be started there.
        """
        with self._writing:
            if not on:
                self._finish()
            elif not self._armed:
                self._check()
                self._armed, self.error = True, ""

    def _open(self) -> None:
        self._check()
        self._armed = self._armed or self.options.start  # it may have been told already

    def _check(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self._path.parent).close()
        except OSError as error:
            raise SinkError(f"cannot record to {self._path}", error.strerror or str(error)) from error

    def _close(self) -> None:
        with self._writing:
            self._finish()
            self._waiting.clear()

    def write(self, frame: Frame) -> None:
        """Record one frame, if that was asked for."""
        if frame.format is not PixelFormat.RGB8:
            raise SinkError(f"cannot record frame {frame.seq}", f"it is {frame.format.value}, and sinks take RGB8")
        with self._writing:
            self._missed += bool(self.error)
            if self._armed or self.options.preroll:
                self._wait(frame)
            for _ in range(_CATCH_UP if self._armed else 0):
                self._record_next()
            if not self._armed:
                self._forget()

    def _wait(self, frame: Frame) -> None:
        images: dict[str, RGB8 | None] = {"normalized": frame.image, "raw": frame.raw}
        wanted = {stream: image for stream in self._streams if (image := images[stream]) is not None}
        if len(wanted) == len(self._streams):  # else it was on its way before it was known that raw pixels are wanted
            self._waiting.append(Shot(wanted, frame.seq, frame.captured_ns, frame.meta))
            self._bytes += self._waiting[-1].nbytes

    def _next(self) -> Shot:
        shot = self._waiting.popleft()
        self._bytes -= shot.nbytes
        return shot

    def _forget(self) -> None:
        """Let go of frames that are too old for the next recording, or too many."""
        while self._waiting and (
            self._waiting[-1].captured_ns - self._waiting[0].captured_ns > self.options.preroll * 1e9
            or self._bytes > self.options.preroll_mb * 1_000_000
        ):
            self._next()

    def _record_next(self) -> None:
        if not self._waiting:
            return
        shot = self._next()
        try:
            self._record(shot)
        except SinkError as error:
            self.error = str(error)
            self._missed += 1 + len(self._waiting)
            while self._waiting:
                self._next()
            self._finish()

    def _record(self, shot: Shot) -> None:
        if self._take is not None and self._take.size != shot.size:
            _log.info("frames are %dx%d from here on: a new recording", *shot.size)
            self._end()
        if self._take is None:
            self._take = Take(self._path, shot, self.options, self.options.pixel_size_um)
            self.files += self._take.files
            _log.info("recording to %s", _listed(self._take.files))
        self._take.add(shot)
        self._recorded += 1

    def _finish(self) -> None:
        """Record what still waits, and end the recording."""
        while self._armed and self._waiting and not self.error:
            self._record_next()
        self._armed = False
        self._end()

    def _end(self) -> None:
        take, self._take = self._take, None
        if take is None:
            if self.error and not self._armed:
                _log.error("nothing was recorded: %s", self.error)
            return
        given = take.frames
        try:
            take.end()
        except SinkError as error:
            self.error = self.error or str(error)
        self._recorded -= given - take.frames
        self._missed += given - take.frames
        if self.error:
            _log.error("recording stopped: %s; %d frames are in %s", self.error, take.frames, _listed(take.files))
        else:
            _log.info("recorded %d frames to %s", take.frames, _listed(take.files))


def _listed(files: list[Path]) -> str:
    return ", ".join(map(str, files))
