"""Classic methods fitted to one slide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from stainstream.calibration import calibrate, open_frames, take, target
from stainstream.errors import StainstreamError
from stainstream.normalizers.fitted import Fitted
from stainstream.normalizers.store import read, read_surveys, save
from stainstream.slides.opening import open_slide

__all__ = ["fitted_to"]

_TILES, _SIDE = 64, 256


def fitted_to(slide: Path, method: str, look: str, file: Path) -> Fitted[Any]:
    """Fit a method to a slide, or take what was fitted to it before.

    The statistics are those of 64 tiles of tissue, 256 pixels wide, found in a thumbnail, from all over the slide.

    Parameters
    ----------
    method
        ``"reinhard"``, ``"macenko"``, ``"vahadane"`` ...
    look
        What it shall look like: see `stainstream.calibration.target`.
    file
        The ``.toml`` file that keeps it; what is in it is used if it was fitted to this slide, method and look.

    Raises
    ------
    SourceError, FrameError
        If the slide cannot be read, or has no tissue.
    UsageError, MissingExtra
        If method or look are unknown.
    """
    with open_slide(slide) as opened:
        fingerprint = opened.about.fingerprint or f"{slide.name} of {slide.stat().st_size} bytes"
    note = f"slide {fingerprint}, {method} to {look}"
    if (kept := _kept(file, note)) is not None:
        return kept
    taken = take(open_frames(f"slide:{slide}?tile={_SIDE}"), _TILES)
    made = calibrate(taken, target(look, _TILES), method, name=f"{method} of {slide.name}")
    source = msgspec.structs.replace(made.surveys["source"], note=note)
    save(file, made.fitted, made.surveys | {"source": source})
    return read(file)  # what the next run will take, to the last digit


def _kept(file: Path, note: str) -> Fitted[Any] | None:
    if not file.is_file():
        return None
    try:
        survey = read_surveys(file).get("source")
        return read(file) if survey is not None and survey.note == note else None
    except StainstreamError:
        return None  # damaged, or of another version: fitted anew
