"""Opening a slide with whatever reads it."""

from __future__ import annotations

from pathlib import Path

from stainstream.errors import MissingExtra, SourceError, UsageError

from . import READERS
from .base import Slide
from .cutoff import cut_off

__all__ = ["is_slide", "open_slide"]


def open_slide(path: Path, reader: str = "") -> Slide:
    """Open a slide with the first reader that can; use it in a ``with`` block.

    Parameters
    ----------
    reader
        The name of the one to use; empty for any. Then a TIFF that is cut off is refused, also where it could open.

    Raises
    ------
    SourceError
        If it is missing, or nobody can read it: what each reader said.
    UsageError, MissingExtra
        If there is no such reader, or none is installed.
    """
    asked = f"cannot read {path}"
    if not path.exists():
        raise SourceError(asked, "there is no such file")
    rows = [READERS[reader]] if reader else [row for row in READERS if row.missing is None]
    if not rows:
        raise MissingExtra(asked, "openslide", "slide")
    if not reader and (reason := cut_off(path)) is not None:
        raise SourceError(asked, reason, "copy it anew, or name a reader, tifffile for example, for what is left")
    reasons = []
    for row in rows:
        slide = row.load()(path)
        try:
            slide.open()
        except SourceError as error:
            reasons.append(error.reason)
        else:
            return slide
    if path.is_dir():
        raise UsageError(asked, "it is a folder, not a slide's file", "name the file, or use: stainstream archive")
    raise SourceError(asked, "; ".join(reasons))


def is_slide(path: str) -> bool:
    """Whether OpenSlide, where it is installed, takes this file for a whole slide."""
    try:
        import openslide
    except ImportError:
        return False
    return Path(path).is_file() and openslide.OpenSlide.detect_format(path) is not None
