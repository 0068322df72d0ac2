"""``stainstream archive``: many slides, on this computer or a cluster."""

from __future__ import annotations

import os
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .options import DEFAULT, EngineName, ModelName
from .slides import Associated, CompressionName, KeepBackground, PerSlide, Quality, Reader, Target, TileSide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stainstream.archive.record import Record

__all__ = ["archive"]


def archive(
    source: Annotated[str, typer.Argument(metavar="IN", help="A folder, quoted pattern or slide; also s3:// ...")],
    out: Annotated[str, typer.Argument(metavar="OUT", help="A folder; also s3:// ...")],
    to: Annotated[str, typer.Option("--to", help="ome.zarr, ome.tiff, tiff or svs.")] = "ome.tiff",
    cluster: Annotated[
        str, typer.Option("--cluster", help="local, tcp://SCHEDULER:8786, slurm or k8s.", show_default=True)
    ] = "local",
    workers: Annotated[
        int, typer.Option(min=0, help="Workers to start.", show_default="one a processor; slurm and k8s: 1")
    ] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Threads a worker spends on a slide or band.")] = 1,
    band: Annotated[
        str,
        typer.Option(
            metavar="ROWS|auto|0",
            help="Divide slides into bands of so many rows of tiles (made a power of two), one a task; 0: never; "
            "auto: slides of more than 4,096 tiles, into bands of 1,024 or a little more.",
        ),
    ] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Leave out what is complete and verified.")] = False,
    share: Annotated[str, typer.Option(help="Do a part only: 2/8 for the second eighth, as in SLURM arrays.")] = "",
    manifest: Annotated[
        str, typer.Option(help="parquet or csv.", show_default="parquet where pyarrow is installed")
    ] = "",
    model: ModelName = DEFAULT,
    engine: EngineName = "auto",
    per_slide: PerSlide = "",
    target: Target = "",
    compression: CompressionName = "",
    quality: Quality = 0,
    tile: TileSide = 0,
    keep_background: KeepBackground = False,
    associated: Associated = True,
    reader: Reader = "",
) -> None:
    """Normalize an archive on Dask, a slide or a band of a large one a task; a slide that fails is named, others go on.

    The exit code is 1 if any was quarantined or failed. OUT/manifest lists what became of each.
    """
    from stainstream.api import load
    from stainstream.archive.record import manifest as write_manifest
    from stainstream.archive.run import plan
    from stainstream.archive.store import Place
    from stainstream.errors import MissingExtra, UsageError

    from .slides import checked, checked_method

    if manifest not in ("", "parquet", "csv"):
        raise UsageError(f"unknown kind of manifest {manifest!r}", "it is parquet or csv")
    try:
        from stainstream.archive.cluster import cluster as connected
        from stainstream.archive.cluster import work
    except ImportError as error:
        raise MissingExtra("cannot normalize archives", error.name or "distributed", "archive") from error
    rows = _rows(band)
    options = checked(tile, compression, quality, keep_background, associated, reader)
    checked_method(per_slide, target)
    jobs = plan(
        source,
        out,
        to,
        options,
        share,
        engine=engine,
        threads=threads,
        per_slide=per_slide,
        look=target,
        resume=resume,
        band_rows=rows,
    )
    with load(model, engine, 1) as loaded:  # bakes the table, for workers to map
        name = per_slide or loaded.artifact.name
    wanted = workers or (os.cpu_count() or 1 if cluster == "local" else 1)
    with connected(cluster, wanted if rows else min(wanted, max(1, len(jobs)))) as client:
        typer.echo(f"stainstream: {len(jobs)} slides, {name}; dashboard: {client.dashboard_link}", err=True)
        counts = _told(len(jobs), partial(work, client, jobs, model, engine))
    place = write_manifest(Place(out), manifest)
    order = ("complete", "skipped", "quarantined", "failed")
    summary = ", ".join(f"{counts[what]} {what}" for what in order if counts[what])
    typer.echo(f"stainstream: {summary or 'nothing to do'}; see {place.url}", err=True)
    if counts["quarantined"] or counts["failed"]:
        raise typer.Exit(1)


def _rows(band: str) -> int | Literal["auto"]:
    """What --band says.

    Raises
    ------
    UsageError
        If it is none of what it may be.
    """
    from stainstream.errors import UsageError

    if band == "auto":
        return "auto"
    if band.isascii() and band.isdecimal():
        return int(band)
    raise UsageError(f"wrong band {band!r}", "it is a number of rows of tiles, auto, or 0 for slides as a whole")


def _told(total: int, start: Callable[[Callable[[float], None]], Iterator[Record]]) -> Counter[str]:
    """Show a bar, to which every band adds its share of a slide, and name what failed."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TimeRemainingColumn

    console, counts, ended = Console(stderr=True), Counter[str](), 0.0
    columns = (BarColumn(), TaskProgressColumn(), MofNCompleteColumn(), "slides,", TimeRemainingColumn(), "left")
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=total)

        def tell(share: float) -> None:
            nonlocal ended
            ended += share
            bar.update(task, completed=round(ended, 6))  # many shares of one slide make it a whole one

        for record in start(tell):
            counts["skipped" if record.skipped and record.status == "complete" else record.status] += 1
            if record.error:
                console.print(f"{record.status}: {record.slide}: {record.error}", markup=False, soft_wrap=True)
    return counts
