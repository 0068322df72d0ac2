"""``stainstream bench``: how fast, beside what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import DEFAULT, ModelName
from .tables import Asked, NetworkName, TableName, bench_tables

if TYPE_CHECKING:
    from stainstream.benchmark.gpu_row import GpuRow
    from stainstream.benchmark.rows import Row

__all__ = ["Size", "Which", "bench"]


_TABLES: dict[str, Any] = {"rich_help_panel": "Tables of the paper"}


class Size(StrEnum):
    """Frame sizes that are measured."""

    small = "512x512"
    full_hd = "1920x1080"
    ultra_hd = "3840x2160"


class Which(StrEnum):
    """What is measured."""

    cpu = "cpu"
    gpu = "gpu"
    all = "all"


def bench(
    model: ModelName = DEFAULT,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="The larger of the two thread counts measured.", show_default="all processors"),
    ] = None,
    image: Annotated[
        list[Path] | None,
        typer.Option(help="An image to measure on as well (512x512 are cut out of it); repeat for several."),
    ] = None,
    size: Annotated[
        list[Size] | None, typer.Option(help="Frame sizes to measure; repeat for several.", show_default="all")
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0, help="How long to measure each figure; with --table, 0 times nothing.")
    ] = 1.0,
    engine: Annotated[
        Which, typer.Option(help="The processor's engines, the GPU's (each row says so where there is none), or all.")
    ] = Which.cpu,
    generator: Annotated[
        Path | None, typer.Option(help="A StainGAN generator's .onnx file, to measure on the GPU's engines.")
    ] = None,
    loop: Annotated[bool, typer.Option("--loop/--no-loop", help="Measure replay -> run -> subscriber as well.")] = True,
    json: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
    chart: Annotated[Path | None, typer.Option(help="Draw them into this .png or .svg file.")] = None,
    table: Annotated[
        list[TableName] | None,
        typer.Option(help="Make this table of the paper instead, of images; repeat for several.", **_TABLES),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            help="Registered images to normalize: a sub-folder, or else a file, a case. For table 3, the centre to "
            "test on: a sub-folder a class.",
            **_TABLES,
        ),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option(help="The same places in the target's colors. For table 3, the centre to train on.", **_TABLES),
    ] = None,
    translated: Annotated[
        Path | None,
        typer.Option(help="What a StainGAN made of the source, same names; students learn from it.", **_TABLES),
    ] = None,
    staingan: Annotated[
        Path | None, typer.Option(help="A StainGAN generator's checkpoint, where there are no such images.", **_TABLES)
    ] = None,
    crop: Annotated[str, typer.Option(help="Pixels to leave out: left,top,right,bottom.", **_TABLES)] = "0,0,0,0",
    positive: Annotated[
        list[str] | None, typer.Option(help="Table 3: a sub-folder that is positive; repeat for several.", **_TABLES)
    ] = None,
    sets: Annotated[
        Path | None, typer.Option(help="Several such sets in a .toml file, as benchmarks/tables.toml.", **_TABLES)
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Where paths in --sets begin.", show_default="beside it", **_TABLES)
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of students, by the fast recipe.", **_TABLES)] = 1500,
    network: Annotated[NetworkName | None, typer.Option(help="Table 3: the classifier.", **_TABLES)] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Table 3: ImageNet weights of that network, as torchvision's.", **_TABLES)
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Table 3: how often each classifier is trained.", **_TABLES)] = 3,
    full: Annotated[
        bool, typer.Option("--full", help="Table 3: the paper's setting, which wants a GPU.", **_TABLES)
    ] = False,
    out: Annotated[Path | None, typer.Option(help="A folder to write table1.json ... into.", **_TABLES)] = None,
    given: Annotated[
        list[Path] | None, typer.Option(help="A table of an earlier run, to compare or report; repeat.", **_TABLES)
    ] = None,
    compare: Annotated[
        list[Path] | None,
        typer.Option(help="A result to compare with; figures outside its intervals end in exit code 1.", **_TABLES),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write all tables into one .html page.", **_TABLES)] = None,
) -> None:
    """Measure each engine beside a memory copy and other runtimes, and the whole loop with input and output.

    With --table: the paper's tables on your own images, beside the paper's figures.
    """
    if table or given or compare or report:
        bench_tables(
            Asked(
                table or (), sets, data, source, target, translated, staingan, crop, positive or (), model, network,
                weights, seeds, full, steps, seconds, threads, out, given or (), compare or (), report,
            )
        )  # fmt: skip
        return
    import os

    import msgspec

    from stainstream.benchmark.chart import chart as draw
    from stainstream.benchmark.rows import PAPER, machine
    from stainstream.errors import UsageError

    typer.echo(f"beside {PAPER}")
    count = threads or os.cpu_count() or 1
    measured = _rows(model, count, image or [], [each.value for each in size or Size], seconds, loop)
    rows = list(_shown(measured)) if engine is not Which.gpu else []
    content: dict[str, object] = {"machine": machine(), "paper": PAPER, "rows": rows}
    if engine is not Which.cpu:
        from stainstream.benchmark.gpu import device, gpu_rows

        content |= {"machine": {**machine(), "gpu": device()}}
        content |= {"gpu_rows": list(_shown_gpu(gpu_rows(model, seconds, generator)))}
    if json is not None:
        try:
            json.write_bytes(msgspec.json.format(msgspec.json.encode(content)) + b"\n")
        except OSError as error:
            raise UsageError(f"cannot write {json}", error.strerror or str(error)) from error
    if chart is not None:
        draw(rows, chart)


def _rows(model: str, threads: int, images: list[Path], sizes: list[str], seconds: float, loop: bool) -> Iterator[Row]:
    from stainstream.benchmark.engines import cases, engines
    from stainstream.benchmark.loop import loop as whole

    if loop:
        wanted = images[0].name if images else "tissue"
        yield from whole(model, next(case for case in cases(images) if case.content == wanted), 2 * seconds)
    yield from engines(model, threads, images, seconds, sizes)


def _shown(rows: Iterable[Row]) -> Iterator[Row]:
    head = ("bench", "engine", "threads", "size", "input", "frames/s", "ms", "x paper", "x copy")
    typer.echo("{:7}{:20}{:>8} {:10}{:24}{:>10}{:>10}{:>9}{:>8}".format(*head))
    for each in rows:
        paper = f"{each.vs_paper:.2f}" if each.vs_paper else ""
        copy = f"{each.vs_copy:.1f}" if each.vs_copy else ""
        typer.echo(
            f"{each.bench:7}{each.engine:20}{each.threads:>8} {each.size:10}{each.input[:23]:24}"
            f"{each.fps:>10,.0f}{each.ms_median:>10.3f}{paper:>9}{copy:>8}"
        )
        yield each


def _shown_gpu(rows: Iterable[GpuRow]) -> Iterator[GpuRow]:
    head = (
        "bench",
        "engine",
        "network",
        "batch",
        "slots",
        "input",
        "frames/s",
        "p50 us",
        "p99 us",
        "x paper",
        "x copy",
    )
    layout = "{:9}{:30}{:20}{:>6}{:>6} {:8}{:>11}{:>10}{:>10}{:>9}{:>8}"
    typer.echo(layout.format(*head))
    for each in rows:
        known = (each.fps, each.us_p50, each.us_p99, each.vs_paper, each.vs_copy)
        figures = [
            "" if value is None else f"{value:,.{digits}f}"
            for value, digits in zip(known, (0, 1, 1, 1, 2), strict=True)
        ]
        if each.fps is None:
            figures[0] = each.status
        typer.echo(
            layout.format(each.bench, each.engine, each.network, each.batch, each.slots, each.input, *figures)
            + (f"  {each.reason}" if each.reason else "")
        )
        yield each
