"""What the commands on whole slides share: their options, a progress bar."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from stainstream.api import Normalizer
    from stainstream.archive.slide import SlideOptions

__all__ = [
    "Associated",
    "CompressionName",
    "KeepBackground",
    "PerSlide",
    "Quality",
    "Reader",
    "Target",
    "TileSide",
    "checked",
    "checked_method",
    "is_slide_job",
    "normalize_slide",
]

_PANEL = "Whole slides"

CompressionName: TypeAlias = Annotated[
    str,
    typer.Option(
        "--compression",
        help="jpeg, jpeg2000, jpeg2000-lossless, zstd, deflate or none.",
        show_default="jpeg; for .ome.zarr zstd",
        rich_help_panel=_PANEL,
    ),
]
Quality: TypeAlias = Annotated[
    int,
    typer.Option(
        min=0,
        max=100,
        help="Of jpeg: 1 to 100; of jpeg2000: dB.",
        show_default="jpeg 85, jpeg2000 45",
        rich_help_panel=_PANEL,
    ),
]
TileSide: TypeAlias = Annotated[
    int,
    typer.Option(
        "--tile",
        min=0,
        max=4096,
        help="Side of a tile.",
        show_default="about 512, as the slide's",
        rich_help_panel=_PANEL,
    ),
]
KeepBackground: TypeAlias = Annotated[
    bool, typer.Option("--keep-background", help="Leave what is no tissue as it was.", rich_help_panel=_PANEL)
]
Associated: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--associated/--no-associated",
        help="Take label, macro and thumbnail along; a label may name a patient.",
        rich_help_panel=_PANEL,
    ),
]
Reader: TypeAlias = Annotated[
    str,
    typer.Option(
        help="openslide, tifffile or cucim.", show_default="the first that can read it", rich_help_panel=_PANEL
    ),
]
PerSlide: TypeAlias = Annotated[
    str,
    typer.Option(
        "--per-slide",
        help="In place of the model: fit reinhard, macenko, vahadane ... to each slide; kept and used again.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
Target: TypeAlias = Annotated[
    str,
    typer.Option(
        "--target",
        "-t",
        help="With --per-slide, what slides shall look like: a reference's name or .toml file, an image, a slide.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]


def checked(
    tile: int, compression: str, quality: int, keep_background: bool, associated: bool, reader: str
) -> SlideOptions:
    """The options for slides.

    Raises
    ------
    UsageError
        If one of them is wrong.
    """
    from stainstream.archive.slide import SlideOptions
    from stainstream.config import settings

    options = {
        "tile": tile,
        "compression": compression,
        "quality": quality,
        "keep_background": keep_background,
        "associated": associated,
        "reader": reader,
    }
    return settings(options, SlideOptions, "the options for slides")


def checked_method(per_slide: str, target: str) -> None:
    """Check that --per-slide and --target stand together, and that there is such a method.

    Raises
    ------
    UsageError, MissingExtra
        If not.
    """
    from stainstream.errors import UsageError
    from stainstream.normalizers import TABLE

    if bool(per_slide) != bool(target):
        missing, given = ("--target", "--per-slide") if per_slide else ("--per-slide", "--target")
        raise UsageError(
            f"cannot use {given} alone",
            f"it needs {missing}",
            "for example: --per-slide macenko --target he-camelyon17-centre4",
        )
    if per_slide:
        TABLE[per_slide].load()


def is_slide_job(source: str, target: Path) -> bool:
    """Whether a slide is to be written: the name says so, or it is a TIFF of what OpenSlide takes for a slide.

    Raises
    ------
    UsageError
        If a slide is read, and the name of what to write is none of a slide.
    """
    from stainstream.errors import UsageError
    from stainstream.slides.opening import is_slide
    from stainstream.sources import TABLE

    name = target.name.lower()
    if name.endswith((".ome.zarr", ".ome.tif", ".ome.tiff", ".svs")):
        return True
    named = any(row.name == "slide" for row in (TABLE.serving(source),))
    if name.endswith((".tif", ".tiff")):
        return named or is_slide(source)
    if named:
        raise UsageError(
            f"cannot normalize the slide {source} to {target}",
            "a slide is written as one",
            "name it .ome.zarr, .ome.tiff, .tiff or .svs; for tiles run: stainstream run --source SLIDE --sink FOLDER",
        )
    return False


def normalize_slide(source: str, target: Path, loaded: Normalizer, options: SlideOptions, threads: int | None) -> None:
    """Normalize a slide with a progress bar: tiles a second, time left.

    Raises
    ------
    Exit
        With code 1 if it was stopped.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    from stainstream.archive.slide import Rendering

    from .status import stopping_on_signals

    rendering = Rendering(Path(source.removeprefix("slide:")), target, loaded, options, threads)
    columns = (BarColumn(), TaskProgressColumn(), MofNCompleteColumn(), "tiles,", TextColumn("{task.fields[rate]}"))
    with (
        stopping_on_signals(rendering),
        Progress(*columns, TimeRemainingColumn(), "left", console=Console(stderr=True)) as bar,
    ):
        task = bar.add_task("", total=None, rate="")

        def tell(now: Rendering) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, total=now.tiles, completed=now.done, rate=f"{speed:.0f} tiles/s," if speed else "")

        made = rendering.run(tell)
    if made is None:
        typer.echo("stainstream: stopped: nothing was written", err=True)
        raise typer.Exit(1)
    typer.echo(
        f"stainstream: wrote {target}: {made.width}x{made.height}, {made.tiles} tiles in {made.seconds:.1f} s, "
        f"{made.tiles / max(made.seconds, 1e-9):.0f} tiles/s",
        err=True,
    )
