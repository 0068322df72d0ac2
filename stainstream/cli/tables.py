"""``stainstream bench --table``: the paper's tables on anybody's images."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from .options import DEFAULT

if TYPE_CHECKING:
    from stainstream.tables.compare import Comparison
    from stainstream.tables.figures import Column, Table, TableRow
    from stainstream.tables.sets import Sets

__all__ = ["Asked", "NetworkName", "TableName", "bench_tables"]


class TableName(StrEnum):
    """Which table."""

    one = "1"
    two = "2"
    three = "3"
    figure5 = "figure5"


class NetworkName(StrEnum):
    """Table 3's classifier."""

    small = "small"
    resnet18 = "resnet18"
    resnet50 = "resnet50"


@dataclass(frozen=True)
class Asked:
    """What the command line says."""

    tables: Sequence[TableName]
    sets: Path | None
    data: Path | None
    source: Path | None
    target: Path | None
    translated: Path | None
    staingan: Path | None
    crop: str
    positive: Sequence[str]
    model: str
    network: NetworkName | None
    weights: Path | None
    seeds: int
    full: bool
    steps: int
    seconds: float
    threads: int | None
    out: Path | None
    given: Sequence[Path]
    compare: Sequence[Path]
    report: Path | None


def bench_tables(asked: Asked) -> None:
    """Make the tables that are asked for, read those that are given; print, write, compare, report."""
    from stainstream.benchmark.peers import limit_threads
    from stainstream.errors import UsageError
    from stainstream.tables.compare import compare
    from stainstream.tables.figures import read, write

    logging.getLogger("stainstream").setLevel(min(logging.INFO, logging.getLogger("stainstream").getEffectiveLevel()))
    tables = [read(path) for path in asked.given]
    chosen, data = _sets(asked)
    if asked.threads:
        limit_threads(asked.threads)
    for name in dict.fromkeys(asked.tables):
        made = _made(name, chosen, data, asked)
        tables.append(made)
        _print(made)
        if asked.out is not None:
            write(made, asked.out / f"{made.name}.json")
            typer.echo(f"wrote {asked.out / f'{made.name}.json'}")
    if not tables:
        raise UsageError(
            "no table to report or to compare", "", "add --table 1, or --given FILE.json of an earlier run"
        )
    comparisons: dict[str, Comparison] = {}
    for path in asked.compare:
        committed = read(path)
        now = next((each for each in tables if each.name == committed.name), None)
        if now is None:
            raise UsageError(f"cannot compare with {path}", f"it is {committed.name}, which is not here", "add --table")
        comparisons[committed.name] = compare(now, committed)
        _print_comparison(path, comparisons[committed.name])
    if asked.report is not None:
        _report(asked.report, tables, chosen, data, comparisons)
    if any(each.changes for each in comparisons.values()):
        raise typer.Exit(1)


def _sets(asked: Asked) -> tuple[Sets, Path]:
    """Those of the file, and one of the options; and where their paths begin."""
    from stainstream.errors import UsageError
    from stainstream.tables.sets import CellSet, ImageSet, Sets, sets

    if asked.sets is not None:
        return sets(asked.sets), asked.data or asked.sets.parent
    if asked.source is None or asked.target is None:
        if asked.tables:
            raise UsageError(
                "no images to make tables of", "", "add --source DIR and --target DIR, or --sets FILE.toml"
            )
        return Sets(), Path()
    model = "" if asked.model == DEFAULT and asked.positive else asked.model
    where = {"generator": _absolute(asked.staingan), "model": _absolute(Path(model)) if Path(model).exists() else model}
    name = f"{asked.source.name} to {asked.target.name}"
    images = ImageSet(
        name=name, source=_absolute(asked.source), target=_absolute(asked.target), crop=asked.crop,
        translated=_absolute(asked.translated), **where,
    )  # fmt: skip
    cells = CellSet(
        name=name, train=_absolute(asked.target), test=_absolute(asked.source), positive=list(asked.positive), **where
    )
    return Sets(images=[images], cells=[cells]), Path()


def _absolute(path: Path | None) -> str:
    return "" if path is None or not str(path) else str(path.absolute())


def _made(name: TableName, chosen: Sets, data: Path, asked: Asked) -> Table:
    from stainstream.tables.figure5 import figure5
    from stainstream.tables.stainnets import Schedule
    from stainstream.tables.table1 import Options, table1
    from stainstream.tables.table2 import table2
    from stainstream.tables.table3 import CellOptions, table3

    schedule = Schedule(steps=asked.steps, patch_steps=asked.steps)
    options = Options(schedule=schedule, seconds=asked.seconds, threads=asked.threads)
    match name:
        case TableName.one:
            return table1(chosen.images, data, options)
        case TableName.two:
            return table2(chosen.images, data, options)
        case TableName.figure5:
            return figure5(chosen.images, data, options)
    network: dict[str, Any] = {}
    if asked.network is not None:
        network = {"network": asked.network.value}
        if asked.network is not NetworkName.small and not asked.full:
            network["rate"] = 2e-4
    return table3(
        chosen.cells,
        data,
        CellOptions(seeds=asked.seeds, full=asked.full, weights=asked.weights, schedule=schedule, classifier=network),
    )


def _print(table: Table) -> None:
    typer.echo(f"\n{table.title}")
    for note in table.notes:
        typer.echo(f"  {note}")
    rows = [("the paper", each) for each in table.paper] + [("", each) for each in table.rows]
    shown = [(_labels(first, row), row) for first, row in rows]
    wide = max(len(label) for label, _ in shown)
    typer.echo(f"{'':{wide}}" + "".join(f"{each.title:>22}" for each in table.columns))
    for label, row in shown:
        if row.missing:
            typer.echo(f"{label:{wide}}  not measured: {row.missing}")
        else:
            typer.echo(f"{label:{wide}}" + "".join(f"{_cell(row, each):>22}" for each in table.columns))


def _labels(first: str, row: TableRow) -> str:
    return ", ".join(each for each in (first, *row.labels.values()) if each)


def _cell(row: TableRow, column: Column) -> str:
    given = row.figures.get(column.key)
    if given is None:
        return ""
    return column.shown(given.value) + ("" if given.sd is None else f" +- {column.shown(given.sd)}")


def _print_comparison(path: Path, done: Comparison) -> None:
    typer.echo(f"\nbeside {path}: {done.compared} figures compared, {len(done.changes)} outside their interval")
    for each in done.changes:
        typer.echo(f"  CHANGED {each}")
    for skipped in done.skipped:
        typer.echo(f"  not compared: {skipped}")


def _report(path: Path, tables: Iterable[Table], chosen: Sets, data: Path, comparisons: dict[str, Comparison]) -> None:
    from stainstream.errors import UsageError
    from stainstream.tables.html import page
    from stainstream.tables.pictures import strips
    from stainstream.wholefile import write_whole

    text = page(list(tables), list(strips(chosen.images, data)), comparisons)
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise UsageError(f"cannot write {path}", error.strerror or str(error)) from error
    typer.echo(f"wrote {path}")
