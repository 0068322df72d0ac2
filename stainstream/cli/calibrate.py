"""``stainstream calibrate``: what a source looks like, and what it shall look like, as a file."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .status import stopping_on_signals

if TYPE_CHECKING:
    from stainstream.calibration import Calibration, Taken
    from stainstream.frame import RGB8
    from stainstream.sources import Source

__all__ = ["calibrate"]

_SHOWN = 4  # pictures a row of the sheet
_EVERY_S = 2.0  # between lines of progress
_FAR = 3.0  # levels by which two halves may differ before more frames are asked for


def calibrate(
    source: Annotated[
        str, typer.Option("--source", "-s", help="Where frames come from: camera0, a feed, a folder, a slide ...")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .toml file to write; a sheet of pictures beside it.")],
    target: Annotated[
        str,
        typer.Option(
            "--target",
            "-t",
            help="What it shall look like: an image, a folder, a slide, a reference's .toml file or its name. "
            "Without: write a reference of how the source looks.",
        ),
    ] = "",
    method: Annotated[
        str, typer.Option("--method", "-m", help="reinhard, macenko, vahadane, ruifrok or khan.")
    ] = "macenko",
    frames: Annotated[int, typer.Option(min=1, help="How many frames with tissue to look at.")] = 200,
    every: Annotated[int, typer.Option(min=1, help="Use every n-th frame: time to move the stage.")] = 1,
    profile: Annotated[
        str | None,
        typer.Option(
            help="Conventions: stream, torchstain or staintools.", show_default="the reference's, else stream"
        ),
    ] = None,
    note: Annotated[str, typer.Option(help="For the file: what the frames are.")] = "",
    license: Annotated[str, typer.Option("--license", help="For the file: the frames' licence.")] = "",
    blank: Annotated[
        bool,
        typer.Option("--blank", help="Show it blank glass: write a camera profile (flat field, white) instead."),
    ] = False,
    white: Annotated[
        float, typer.Option(min=128, max=255, help="With --blank: the level that glass shall get.")
    ] = 245.0,
) -> None:
    """Learn how a source looks from many of its frames, and fit a method that makes it look like a target.

    Ctrl-C ends the looking; what was seen until then is used.
    """
    from stainstream.errors import UsageError

    if out.suffix.lower() != ".toml" or not out.absolute().parent.is_dir():
        raise UsageError(
            f"cannot write {out}", "it is no .toml file in a folder that exists", "name one: --out my.toml"
        )
    if blank:
        _blank(source, out, frames, white, note)
        return
    about = {"note": note, "license": license}
    if target:
        _calibration(source, target, method, profile, out, frames, every, about)
    else:
        _reference(source, profile, out, frames, every, about)


def _calibration(
    source: str,
    target: str,
    method: str,
    profile: str | None,
    out: Path,
    frames: int,
    every: int,
    about: dict[str, str],
) -> None:
    from msgspec.structs import replace

    from stainstream.calibration import Taken, calibrate, open_frames
    from stainstream.calibration import target as look_at
    from stainstream.normalizers import TABLE
    from stainstream.normalizers.store import save

    TABLE[method].load()  # before anybody moves a stage for nothing
    wanted = look_at(target, frames)
    taken = _take(open_frames(source), frames, every)
    made = calibrate(taken, wanted, method, profile, out.stem)
    save(out, made.fitted, made.surveys | {"source": replace(made.surveys["source"], **about)})
    _tell(taken, "source")
    if isinstance(wanted, Taken):
        _tell(wanted, "target")
    if made.agreement is not None:
        more = "; more frames, from more places, would help" if made.agreement > _FAR else ""
        _say(f"converged: the maps of two halves of the frames differ by {made.agreement:.2f} levels{more}")
    rows = [("before", taken.samples), ("after", _normalized(made, taken.samples))]
    rows += [("target", wanted.samples)] if isinstance(wanted, Taken) else []
    _draw(out, [(f"{title}: {out.stem}" if title == "after" else title, images) for title, images in rows])
    _say(f"wrote {out} and {out.with_suffix('.png')}; run: stainstream run --source {source} --model {out}")


def _reference(source: str, profile: str | None, out: Path, frames: int, every: int, about: dict[str, str]) -> None:
    from dataclasses import replace as changed

    from msgspec.structs import replace

    from stainstream.calibration import open_frames, reference
    from stainstream.normalizers.store import save

    taken = _take(open_frames(source), frames, every)
    made = reference(taken, profile, out.stem)
    save(out, changed(made, survey=replace(taken.survey(), **about)))
    _tell(taken, "reference")
    _draw(out, [(f"reference: {out.stem}", taken.samples)])
    _say(f"wrote {out} and {out.with_suffix('.png')}; use it as: --target {out}")


def _blank(source: str, out: Path, frames: int, white: float, note: str) -> None:
    from msgspec.structs import replace

    from stainstream.api import open_source
    from stainstream.calibration import blank_frames
    from stainstream.color.flatfield import Correction, measure, save
    from stainstream.sheet import contrasted

    origin = open_source(source)
    seen: list[RGB8] = []
    with stopping_on_signals(origin), origin:
        profile = replace(measure(blank_frames(origin, frames, seen), out.stem, white), note=note)
    save(out, profile)
    _say(
        f"{profile.frames} frames of {profile.width}x{profile.height}: the field varied by "
        f"{100 * profile.uneven:.1f} %, corrected by {100 * profile.left:.1f} %; glass becomes {white:g}"
    )
    even = Correction(profile)(seen[0], seen[0].copy())
    stretched = [contrasted(seen[0]), contrasted(even)]
    _draw(out, [("blank field, before and after", [seen[0], even]), ("contrast times four", stretched)])
    joint = "&" if "?" in source else "?"
    _say(f"wrote {out} and {out.with_suffix('.png')}; run: stainstream run --source '{source}{joint}profile={out}'")


def _take(source: Source, frames: int, every: int) -> Taken:
    from stainstream.calibration import take

    with stopping_on_signals(source):
        return take(source, frames, every, _progress(frames))


def _progress(frames: int) -> Callable[[Taken], None]:
    """Tells how far it is, now and then, and how far the estimate has converged whenever frames have doubled."""
    told, due = time.monotonic(), 8

    def tell(taken: Taken) -> None:
        nonlocal told, due
        if taken.frames >= due:
            due *= 2
            _say(f"{taken.frames} of {frames} frames; converged to {taken.survey().converged:.2f} in L*a*b*")
        elif time.monotonic() - told > _EVERY_S:
            told = time.monotonic()
            _say(f"{taken.frames} of {frames} frames; {taken.surveyor.skipped} had too little tissue")

    return tell


def _tell(taken: Taken, side: str) -> None:
    survey = taken.survey()
    unusable = f", {taken.unusable} could not be used" if taken.unusable else ""
    _say(f"{side}: {survey.frames} frames with tissue; {survey.skipped} without, left out{unusable}")
    _say(
        f"{side}: a frame differs from all by {survey.spread:.1f} in L*a*b* (99 %: within {survey.reach:.1f}); "
        f"one half of them from the other by {survey.converged:.1f}"
    )


def _normalized(made: Calibration, images: list[RGB8]) -> list[RGB8]:
    from stainstream.color.lut import quantize

    return [quantize(made.fitted(each / 255.0), made.fitted.rounding) for each in images[:_SHOWN]]


def _draw(out: Path, rows: list[tuple[str, list[RGB8]]]) -> None:
    from stainstream.frame import Frame, PixelFormat
    from stainstream.sheet import Row, sheet
    from stainstream.sinks.image import write_image

    image = sheet([Row(caption, images[:_SHOWN]) for caption, images in rows])
    write_image(out.with_suffix(".png"), Frame(image, PixelFormat.RGB8), compression=6)


def _say(what: str) -> None:
    typer.echo(f"stainstream: {what}", err=True)
