"""A folder of images."""

from __future__ import annotations

import itertools
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import Annotated, Literal

import msgspec

from stainstream.config import Settings
from stainstream.errors import SinkError, UsageError
from stainstream.frame import Frame
from stainstream.opencv import quiet

from .base import Sink
from .image import write_image

__all__ = ["Files"]

_IMAGE = re.compile(r"\.(png|jpe?g|tiff?|bmp|webp)", re.IGNORECASE)
_LONGEST = 100  # characters of a name that came with a frame


class Files(Sink):
    """One image a frame, named after the file that it came from, or else ``frame_000000042``.

    No file is overwritten unless that is asked for: where the name is taken, the frame's number is added, and then a
    further one. An image appears under its name only when it is whole.
    """

    class Options(Settings, frozen=True, kw_only=True):
        """What can be set."""

        suffix: Literal["png", "jpg", "tif", "bmp", "webp"] = "png"
        """Kind of image; ``png``, ``tif`` and ``bmp`` lose nothing."""
        quality: Annotated[int, msgspec.Meta(ge=1, le=100)] = 95
        """Of ``jpg`` (without chroma subsampling) and ``webp``."""
        compression: Annotated[int, msgspec.Meta(ge=0, le=9)] = 1
        """Of ``png``: 0 is fast, 9 is small."""
        overwrite: bool = False
        """Whether files of that name are replaced; otherwise the frame's number is added."""

    options: Options

    def __init__(self, target: str, options: Options) -> None:
        super().__init__(target, options)
        self._folder = Path(target)
        if _IMAGE.fullmatch(self._folder.suffix) and not self._folder.is_dir():
            raise UsageError(
                f"cannot write to {target}", "frames go to a folder, one image each", "give the name of a folder"
            )

    def _open(self) -> None:
        quiet()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self._folder).close()
        except OSError as error:
            raise SinkError(f"cannot write into {self.target}", error.strerror or str(error)) from error

    def write(self, frame: Frame) -> None:
        """Encode and store one frame."""
        write_image(self._free(frame), frame, self.options.quality, self.options.compression)

    def _free(self, frame: Frame) -> Path:
        """The first of the frame's possible names that is not taken, or simply the first if files may be replaced."""
        paths = (self._folder / f"{name}.{self.options.suffix}" for name in _names(frame))
        if self.options.overwrite:
            return next(paths)
        return next(path for path in paths if not path.exists())


def _names(frame: Frame) -> Iterator[str]:
    stem = _stem(frame.meta.get("file")) or f"frame_{frame.seq:09d}"
    yield stem
    yield f"{stem}_{frame.seq}"
    for further in itertools.count(2):
        yield f"{stem}_{frame.seq}_{further}"


def _stem(file: object) -> str:
    """A harmless file name, without its suffix, from what came with a frame; that may be a stranger's feed.

    Examples
    --------
    >>> _stem("slides/tile 7.tif"), _stem("../../etc/passwd"), _stem(".."), _stem(3)
    ('tile 7', 'passwd', '', '')
    """
    name = PureWindowsPath(file).stem if isinstance(file, str) else ""  # it knows both kinds of slashes
    return re.sub(r"[^\w .()+-]", "_", name)[:_LONGEST].strip(" .")
