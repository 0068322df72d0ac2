"""Images from files."""

from __future__ import annotations

import glob
import logging
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent import futures
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import msgspec

from stainstream.config import Settings
from stainstream.errors import FrameError, SourceError, UsageError
from stainstream.frame import Frame, PixelFormat
from stainstream.opencv import quiet

from .base import Source
from .image import MAX_PIXELS, SUFFIXES, read_image
from .pace import Pace
from .prefetch import prefetch

__all__ = ["Files", "find_images", "natural"]

_log = logging.getLogger(__name__)

_AHEAD = 4  # images decoded before they are asked for
_THREADS = min(4, os.cpu_count() or 1)


class Files(Source):
    """An image, the images of a folder, or those that a pattern matches, in natural order.

    ``meta`` holds ``file``, the file's name without its folders. Files that cannot be read are logged, counted as
    ``unreadable image`` and left out when the images are played again; one that was named itself is an error at once.
    Images played in a loop come as the same arrays each time: do not write into them.
    """

    class Options(Settings, frozen=True, kw_only=True):
        """What can be set."""

        rate: Annotated[float, msgspec.Meta(ge=0, le=1e6)] = 0.0
        """Images a second; 0 for as many as are taken."""
        loop: bool = False
        """Whether to begin anew after the last one."""
        keep_mb: Annotated[int, msgspec.Meta(ge=0)] = 256
        """Megabytes of pixels to keep at most, so that images played in a loop need not be decoded again."""
        recursive: bool = False
        """Whether to look into a folder's folders; in a pattern, ``**`` does so."""
        format: str = ""
        """PFNC name of how to read the samples, in the order in which the file stores them: BayerRG12 of a gray 16-bit
        file, RGB12 of a colored one; empty for what the file itself says."""
        max_pixels: Annotated[int, msgspec.Meta(ge=1)] = MAX_PIXELS
        """Files that declare more are refused before anything is allocated for them."""

    options: Options

    def __init__(self, target: str, options: Options) -> None:
        super().__init__(target, options)
        self._format = _named(options.format) if options.format else None
        self._paths: list[Path] = []

    @property
    def waits(self) -> bool:
        """Files wait."""
        return True

    def _open(self) -> None:
        quiet()
        self._paths = find_images(self.target, recursive=self.options.recursive)
        if Path(self.target).is_file():
            self._read(self._paths[0])

    def __iter__(self) -> Iterator[Frame]:
        if not self.is_open:
            raise SourceError(f"cannot read {self.target}", "it is not open")
        pace, seq = Pace(self.options.rate, self.stopping), 0
        passing: Iterable[tuple[Path, Frame]] = self._frames(self._paths)
        while True:
            played = _Played(self.options.keep_mb * 1_000_000 if self.options.loop else 0)
            for path, frame in passing:
                if not pace.wait():
                    return
                played.add(path, frame)
                yield replace(frame, seq=seq, captured_ns=time.monotonic_ns())
                seq += 1
            if not played.paths and not self.stopping.is_set():
                raise SourceError(f"cannot read {self.target}", "no file of it could be read")
            if not self.options.loop or self.stopping.is_set():
                return
            passing = played.kept or self._frames(played.paths)

    def _frames(self, paths: Sequence[Path]) -> Iterator[tuple[Path, Frame]]:
        """One pass over the files, without the unreadable ones; it ends early when `stop` is called."""
        for path, future in prefetch(self._read, paths, ahead=_AHEAD, threads=_THREADS):
            while not future.done():
                if self.stopping.is_set():
                    return
                futures.wait([future], 0.1)
            try:
                yield path, future.result()
            except SourceError as error:
                self.rejected["unreadable image"] += 1
                _log.warning("%s", error)

    def _read(self, path: Path) -> Frame:
        return read_image(path, self._format, self.options.max_pixels)


class _Played:
    """What one pass over the files played.

    Parameters
    ----------
    room
        Bytes of pixels to keep; if they do not suffice, no frame is kept.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self.paths: list[Path] = []
        self.kept: list[tuple[Path, Frame]] = []

    def add(self, path: Path, frame: Frame) -> None:
        """Note a file, and its frame as long as there is room for all."""
        self.paths.append(path)
        self._room -= frame.image.nbytes
        if self._room >= 0:
            frame.image.flags.writeable = False  # it will be played again
        self.kept.append((path, frame))
        if self._room < 0:
            self.kept.clear()


def find_images(target: str, *, recursive: bool = False) -> list[Path]:
    """The image files that a file's name, a folder or a pattern stands for, in natural order.

    Of a folder, files named as images are taken, except hidden ones; of a pattern, whatever files match.

    Raises
    ------
    SourceError
        If there are none.
    """
    path, asked = Path(target), f"cannot read {target}"
    try:
        if path.is_file():
            return [path]
        if path.is_dir():
            found = _in_folder(path, recursive)
            reason = f"the folder holds no images ({', '.join(sorted(SUFFIXES))})"
            cure = "" if recursive else "to look into its folders too, set recursive=1"
        elif glob.has_magic(target):
            found = [Path(each) for each in glob.glob(target, recursive=True) if Path(each).is_file()]
            reason, cure = "no file matches the pattern", "check it from where you run this"
        else:
            found, reason, cure = [], "there is no such file or folder", "run: stainstream sources"
    except OSError as error:
        raise SourceError(asked, error.strerror or str(error)) from error
    if not found:
        raise SourceError(asked, reason, cure)
    return sorted(found, key=natural)


def _in_folder(folder: Path, recursive: bool) -> list[Path]:
    inside = folder.rglob("*") if recursive else folder.iterdir()
    images = [each for each in inside if each.suffix.lower() in SUFFIXES and not each.name.startswith(".")]
    return [each for each in images if each.is_file()]


def natural(path: Path) -> tuple[list[list[str | int]], str]:
    """Sort key that puts ``tile2`` before ``tile10``, folder by folder, whatever their case.

    Examples
    --------
    >>> [path.name for path in sorted(map(Path, ["tile10.png", "tile2.png", "Tile1.png"]), key=natural)]
    ['Tile1.png', 'tile2.png', 'tile10.png']
    """
    parts = [re.split(r"(\d+)", part.casefold(), flags=re.ASCII) for part in path.parts]
    return [[int(piece) if at % 2 else piece for at, piece in enumerate(part)] for part in parts], str(path)


def _named(format: str) -> PixelFormat:
    try:
        return PixelFormat.named(format)
    except FrameError as error:
        raise UsageError("wrong settings of the image files", str(error)) from error
