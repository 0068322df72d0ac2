"""A video file."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Annotated

import cv2
import msgspec

from stainstream.config import Settings
from stainstream.errors import SinkError
from stainstream.frame import Frame
from stainstream.opencv import quiet

from .base import Sink
from .bgr import bgr

__all__ = ["Video"]


class Video(Sink):
    """Encodes frames into a video by FFmpeg; all have the size of the first one.

    The file appears under its name when the sink is closed and all frames were found in it; until then it is called
    ``.NAME.part.SUFFIX``. Most codecs store color at half resolution and cut the last row or column of odd sizes.
    """

    class Options(Settings, frozen=True, kw_only=True):
        """What can be set."""

        rate: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 30.0
        """Frames a second at which it will play."""
        codec: Annotated[str, msgspec.Meta(pattern="^(.{4})?$")] = ""
        """FourCC; empty for ``MJPG`` in ``.avi``, else ``mp4v``. ``FFV1``, in ``.avi`` or ``.mkv``, loses nothing."""
        reserve_mb: Annotated[int, msgspec.Meta(ge=0)] = 64
        """Stop when less than this many megabytes are free on the disk: FFmpeg says nothing when it is full."""

    options: Options

    def __init__(self, target: str, options: Options) -> None:
        super().__init__(target, options)
        self._path = Path(target)
        self._part = self._path.with_name(f".{self._path.stem}.part{self._path.suffix}")
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._written = 0
        self._writing = threading.Lock()

    def _open(self) -> None:
        quiet()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._begun((64, 64)).release()  # proves folder and codec before the first frame is there
            finally:
                self._part.unlink(missing_ok=True)
        except OSError as error:
            raise SinkError(f"cannot write {self.target}", error.strerror or str(error)) from error

    def write(self, frame: Frame) -> None:
        """Encode one frame."""
        image, size = bgr(frame), (frame.width, frame.height)
        with self._writing:
            if not self.is_open:
                raise SinkError(f"cannot write {self.target}", "it is not open")
            self._check_room()
            if self._writer is None:
                self._writer, self._size, self._written = self._begun(size), size, 0
            if size != self._size:
                was, new = ("{}x{}".format(*each) for each in (self._size, size))
                raise SinkError(
                    f"cannot write frame {frame.seq} to {self.target}", f"it is {new}, the others are {was}"
                )
            self._writer.write(image)
            self._written += 1

    def _close(self) -> None:
        with self._writing:
            writer, self._writer = self._writer, None
            if writer is not None:
                writer.release()
                self._finish()

    def _begun(self, size: tuple[int, int]) -> cv2.VideoWriter:
        codec = self.options.codec or ("MJPG" if self._path.suffix.lower() == ".avi" else "mp4v")
        fourcc = cv2.VideoWriter.fourcc(*codec)
        writer = cv2.VideoWriter(str(self._part), cv2.CAP_FFMPEG, fourcc, self.options.rate, size)
        if not writer.isOpened():
            reason = f"FFmpeg cannot store {size[0]}x{size[1]} as {codec} in {self._path.suffix}, or not in that folder"
            raise SinkError(f"cannot write {self.target}", reason, "try codec=mp4v, or MJPG in .avi")
        return writer

    def _check_room(self) -> None:
        try:
            free = shutil.disk_usage(self._path.parent).free
        except OSError as error:
            raise SinkError(f"cannot write {self.target}", error.strerror or str(error)) from error
        if free < self.options.reserve_mb * 1_000_000:
            reason = f"less than {self.options.reserve_mb} MB are free on the disk"
            raise SinkError(f"cannot write {self.target}", reason, "free some, or set reserve_mb lower")

    def _finish(self) -> None:
        """Give the file its name if its last frame is in it: FFmpeg's writer reports no error, so look."""
        written = cv2.VideoCapture(str(self._part), cv2.CAP_FFMPEG)
        written.set(cv2.CAP_PROP_POS_FRAMES, self._written - 1)
        whole = written.grab() and written.get(cv2.CAP_PROP_POS_FRAMES) == self._written
        written.release()  # Windows renames no file that is open
        if not whole:
            reason = f"not all of its {self._written} frames were stored; the disk may be full"
            raise SinkError(f"cannot finish {self.target}", reason, f"what could be saved stands in {self._part}")
        try:
            os.replace(self._part, self._path)
        except OSError as error:
            reason = error.strerror or str(error)
            raise SinkError(f"cannot finish {self.target}", reason, f"the video stands in {self._part}") from error
