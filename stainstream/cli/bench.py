"""``stainstream bench``: how fast, beside what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import DEFAULT, ModelName

if TYPE_CHECKING:
    from stainstream.benchmark.gpu import GpuRow
    from stainstream.benchmark.rows import Row

__all__ = ["Size", "Which", "bench"]


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
    seconds: Annotated[float, typer.Option(min=0.01, help="How long to measure each figure.")] = 1.0,
    engine: Annotated[
        Which, typer.Option(help="The processor's engines, the GPU's (each row says so where there is none), or all.")
    ] = Which.cpu,
    generator: Annotated[
        Path | None, typer.Option(help="A StainGAN generator's .onnx file, to measure on the GPU's engines.")
    ] = None,
    loop: Annotated[bool, typer.Option("--loop/--no-loop", help="Measure replay -> run -> subscriber as well.")] = True,
    json: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
    chart: Annotated[Path | None, typer.Option(help="Draw them into this .png or .svg file.")] = None,
) -> None:
    """Measure each engine beside a memory copy and other runtimes, and the whole loop with input and output."""
    import os

    import msgspec

    from stainstream.benchmark.chart import chart as draw
    from stainstream.benchmark.rows import PAPER, machine
    from stainstream.errors import UsageError

    typer.echo(f"beside {PAPER}")
    count = threads or os.cpu_count() or 1
    measured = _rows(model, count, image or [], [each.value for each in size or Size], seconds, loop)
    rows = list(_shown(measured)) if engine is not Which.gpu else []
    data: dict[str, object] = {"machine": machine(), "paper": PAPER, "rows": rows}
    if engine is not Which.cpu:
        from stainstream.benchmark.gpu import device, gpu_rows

        data |= {"machine": {**machine(), "gpu": device()}}
        data |= {"gpu_rows": list(_shown_gpu(gpu_rows(model, seconds, generator)))}
    if json is not None:
        try:
            json.write_bytes(msgspec.json.format(msgspec.json.encode(data)) + b"\n")
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
