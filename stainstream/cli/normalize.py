"""``stainstream normalize``: images, folders, whole slides."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import DEFAULT, EngineName, ModelName, Threads, TrustPlan
from .slides import Associated, CompressionName, KeepBackground, PerSlide, Quality, Reader, Target, TileSide

if TYPE_CHECKING:
    from stainstream.api import Normalizer

__all__ = ["normalize"]


def normalize(
    source: Annotated[str, typer.Argument(metavar="IN", help="An image, a folder, a quoted pattern, a slide.")],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="A folder; for a single image also a file; for a slide a name in .ome.zarr, .ome.tiff, .tiff or .svs.",
        ),
    ],
    model: ModelName = DEFAULT,
    engine: EngineName = "auto",
    threads: Threads = None,
    trust_plan: TrustPlan = False,
    suffix: Annotated[str, typer.Option(help="Kind of images in a folder: png, jpg, tif, bmp or webp.")] = "png",
    recursive: Annotated[bool, typer.Option("--recursive", help="Look into a folder's folders.")] = False,
    compression: CompressionName = "",
    quality: Quality = 0,
    tile: TileSide = 0,
    keep_background: KeepBackground = False,
    associated: Associated = True,
    reader: Reader = "",
    per_slide: PerSlide = "",
    look: Target = "",
) -> None:
    """Normalize images, folders of images, or a whole slide; files of the same name in OUT are replaced.

    Images that cannot be read are named, counted and left out; the exit code is then 1. A slide is read tile by tile,
    and appears under its name when it is whole.
    """
    from stainstream.api import load, open_sink, open_source
    from stainstream.sources.files import find_images
    from stainstream.sources.image import SUFFIXES
    from stainstream.stream.pipeline import Pipeline

    from .slides import checked, checked_method, is_slide_job, normalize_slide
    from .status import progress

    if is_slide_job(source, target):
        options = checked(tile, compression, quality, keep_background, associated, reader)
        checked_method(per_slide, look)
        if per_slide:
            from stainstream.archive.statistics import fitted_to

            slide = Path(source.removeprefix("slide:"))
            fitted = fitted_to(slide, per_slide, look, target.with_name(f"{target.name}.toml"))
        with load(fitted if per_slide else model, engine, 1, trust_plan=trust_plan) as loaded:
            typer.echo(f"stainstream: model {loaded.artifact.name} on {loaded.choice}", err=True)
            normalize_slide(source, target, loaded, options, threads)
        return
    paths = find_images(source, recursive=recursive)
    with load(model, engine, threads, trust_plan=trust_plan) as loaded:
        typer.echo(f"stainstream: model {loaded.artifact.name} on {loaded.choice}", err=True)
        if target.suffix.lower() in SUFFIXES and not target.is_dir():
            _one(paths, target, loaded)
            return
        origin = open_source(f"{source}?recursive={int(recursive)}")
        sink = open_sink(f"{target}?suffix={suffix}&overwrite=1")
        report = progress(Pipeline(origin, loaded.engine, {str(target): sink}, policy="lossless"), len(paths))
    if report.delivered < len(paths):
        raise typer.Exit(1)


def _one(paths: list[Path], target: Path, normalize: Normalizer) -> None:
    from stainstream.color.convert import to_rgb8
    from stainstream.errors import UsageError
    from stainstream.frame import Frame, PixelFormat
    from stainstream.sinks.image import write_image
    from stainstream.sources.image import read_image

    if len(paths) != 1:
        raise UsageError(f"cannot write {len(paths)} images to {target}", "it is one file", "give a folder's name")
    frame = read_image(paths[0])
    write_image(target, Frame(normalize(to_rgb8(frame.image, frame.format)), PixelFormat.RGB8))
