"""The report: one page that holds everything and fetches nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from .compare import Comparison
from .figures import Column, Figure, Table, TableRow
from .pictures import Strip
from .svg import Dot, dots

__all__ = ["page"]

_HEAD = Path(__file__).with_name("page.html")
_CHARTS = {
    "table1": ("psnr_gt", "ssim_gt", "ssim_source", "fps"),
    "table2": ("ssim_source", "psnr_gt"),
    "table3": ("f1", "accuracy"),
    "figure5": ("psnr_gt",),
}


def page(tables: Sequence[Table], strips: Sequence[Strip], comparisons: Mapping[str, Comparison]) -> str:
    """The page's text.

    Parameters
    ----------
    strips
        Pictures, if there are any.
    comparisons
        With committed results, by the name of the table.
    """
    parts = [_HEAD.read_text(encoding="utf-8")]
    parts.append("<h1>stainstream beside the paper</h1>")
    parts.append(
        "<p class='dim'>H. Kang et al., StainNet: a fast and robust stain normalization network. "
        f"Made {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by stainstream bench --report.</p>"
    )
    parts.append("<nav>" + "".join(f"<a href='#{each.name}'>{escape(each.title)}</a>" for each in tables))
    parts.append(
        "<a href='#pictures'>Pictures</a><a href='#missing'>Not measured</a><a href='#machine'>Machine</a></nav>"
    )
    for table in tables:
        parts += _table(table, comparisons.get(table.name))
    parts += _pictures(strips)
    parts += _missing(tables)
    parts += _machines(tables)
    return "\n".join([*parts, "</body>", "</html>", ""])


def _table(table: Table, comparison: Comparison | None) -> Iterator[str]:
    yield f"<h2 id='{table.name}'>{escape(table.title)}</h2>"
    yield "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in table.notes) + "</ul>"
    if table.paper:
        yield "<h3>The paper's</h3>"
        yield _grid(table.paper, [each for each in table.columns if each.key in table.paper[0].figures], kind="paper")
    for name in dict.fromkeys(row.labels.get("set", "") for row in table.rows):
        rows = [row for row in table.rows if row.labels.get("set", "") == name]
        yield f"<h3>{escape(name)}</h3>"
        main = [row for row in rows if row.labels.get("case", "all") == "all"]
        yield _grid(main, table.columns)
        if cases := [row for row in rows if row.labels.get("case", "all") != "all"]:
            yield f"<details><summary>Case by case ({len(cases)} rows)</summary>{_grid(cases, table.columns)}</details>"
        for column in table.columns:
            if column.key in _CHARTS.get(table.name, ()):
                yield _chart(table, main, column, name)
    if comparison is not None:
        yield f"<h3>Beside the committed result</h3><p>{comparison.compared} figures compared, "
        yield f"{len(comparison.changes)} outside their interval.</p>"
        yield "<ul>" + "".join(f"<li>{escape(str(each))}</li>" for each in comparison.changes) + "</ul>"
        yield "".join(f"<p class='dim'>Not compared: {escape(each)}.</p>" for each in comparison.skipped)


def _grid(rows: Sequence[TableRow], columns: Sequence[Column], kind: str = "") -> str:
    labels = list(dict.fromkeys(key for row in rows for key in row.labels if key != "set"))
    telling = [key for key in labels if len({row.labels.get(key, "") for row in rows}) > 1]
    labels = telling or labels[:1]
    noted = any(row.note for row in rows)
    head = "".join(f"<th class='label'>{escape(key)}</th>" for key in labels)
    head += "".join(f"<th>{escape(each.title)}</th>" for each in columns) + (
        "<th class='label'>note</th>" if noted else ""
    )
    body = []
    for row in rows:
        cells = "".join(f"<td class='label'>{escape(row.labels.get(key, ''))}</td>" for key in labels)
        if row.figures:
            cells += "".join(f"<td>{_cell(row.figures.get(each.key), each)}</td>" for each in columns)
            cells += f"<td class='label'><small>{escape(row.note)}</small></td>" if noted else ""
        else:
            cells += f"<td class='missing' colspan='{len(columns) + noted}'>not measured: {escape(row.missing)}</td>"
        body.append(f"<tr class='{kind or ('strong' if _strong(row) else '')}'>{cells}</tr>")
    return f"<div class='wide'><table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"


def _cell(given: Figure | None, column: Column) -> str:
    if given is None:
        return ""
    value = column.shown(given.value)
    if given.low is not None and given.high is not None and (given.sd is None or column.key in _INTERVALS):
        return f"{value} <small>{column.shown(given.low)} to {column.shown(given.high)}</small>"
    return value if given.sd is None else f"{value} <small>&plusmn; {column.shown(given.sd)}</small>"


_INTERVALS = {"recall", "precision", "accuracy", "f1", "lost"}


def _strong(row: TableRow) -> bool:
    return any("StainNet" in each for each in row.labels.values())


def _chart(table: Table, rows: Sequence[TableRow], column: Column, name: str) -> str:
    """Of tiles where there are units; beside each row the paper's figure of the same labels."""
    chosen = [row for row in rows if column.key in row.figures and row.labels.get("unit", "tiles") == "tiles"]
    drawn = [_dot(table, row, column) for row in chosen]
    title = f"{column.title}, {name}" + (" (logarithmic)" if column.rate else "")
    return dots(title, drawn, logarithmic=column.rate)


def _dot(table: Table, row: TableRow, column: Column) -> Dot:
    figure = row.figures[column.key]
    spread = row.figures.get(f"{column.key}_spread")
    low, high = (
        (figure.low, figure.high) if spread is None else (figure.value - spread.value, figure.value + spread.value)
    )
    shown = [value for key, value in row.labels.items() if value and key not in ("set", "unit", "case")]
    label = ", ".join([f"{shown[0]} of 3x3"] if table.name == "table2" else shown)
    return Dot(
        label, figure.value, column.shown(figure.value), low, high, _paper(table, row, column), strong=_strong(row)
    )


def _paper(table: Table, row: TableRow, column: Column) -> float | None:
    for each in table.paper:
        if column.key in each.figures and all(row.labels.get(key) == value for key, value in each.labels.items()):
            return each.figures[column.key].value
    return None


def _pictures(strips: Sequence[Strip]) -> Iterator[str]:
    yield "<h2 id='pictures'>Pictures</h2>"
    if not strips:
        yield "<p class='dim'>None: they need the images (--sets, or --source and --target).</p>"
    for strip in strips:
        yield f"<h3>{escape(strip.title)}</h3><div class='strip'>"
        for each in strip.pictures:
            caption = escape(each.caption)
            yield f"<figure><img alt='{caption}' src='{each.url}'><figcaption>{caption}</figcaption></figure>"
        yield "</div>"


def _missing(tables: Sequence[Table]) -> Iterator[str]:
    yield "<h2 id='missing'>Not measured</h2><ul>"
    for table in tables:
        for row in table.rows:
            if row.missing:
                what = ", ".join(each for each in row.labels.values() if each)
                yield f"<li>{escape(table.title)}: {escape(what)}: {escape(row.missing)}</li>"
        if table.machine.get("gpu") == "not measured":
            yield f"<li>{escape(table.title)}: on a GPU</li>"
    yield "</ul>"


def _machines(tables: Sequence[Table]) -> Iterator[str]:
    yield "<h2 id='machine'>Machine, versions, settings</h2>"
    seen: dict[str, list[str]] = {}
    for table in tables:
        seen.setdefault(_listed(table.machine), []).append(table.title)
        yield f"<p><b>{escape(table.title)}</b> <small>{escape(_words(table.settings))}</small></p>"
    for listed, titles in seen.items():
        yield f"<h3>{escape('; '.join(titles))}</h3>{listed}"


def _listed(machine: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<dt>{escape(key)}</dt><dd>{escape(_words(value) if isinstance(value, Mapping) else str(value))}</dd>"
        for key, value in machine.items()
    )
    return f"<dl>{rows}</dl>"


def _words(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())
