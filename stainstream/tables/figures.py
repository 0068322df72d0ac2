"""What tables are made of: figures with intervals, rows, and the files they stand in."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from stainstream.errors import StainstreamError, UsageError
from stainstream.wholefile import write_whole

__all__ = ["Column", "Figure", "Table", "TableRow", "figure", "read", "rows_of", "write"]

_log = logging.getLogger(__name__)

_Z = 1.96  # of the 95 % interval of a mean


class Figure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One number of a table."""

    value: float
    sd: float | None = None
    """Sample standard deviation over `n`; None for a single one."""
    n: int = 1
    low: float | None = None
    high: float | None = None
    """95 % interval of `value`; of frames a second, the quartiles."""


class Column(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One column of figures."""

    key: str
    title: str
    digits: int
    """Behind the point, as the paper prints it."""
    rate: bool = False
    """Whether it depends on the machine: such figures are only compared on the same processor."""

    def shown(self, value: float, finer: int = 0) -> str:
        """A figure as people read it, with `finer` more digits; of a rate those that mean something.

        Examples
        --------
        >>> fps = Column(key="fps", title="FPS", digits=1, rate=True)
        >>> fps.shown(1234.56), fps.shown(12.34), fps.shown(0.0312)
        ('1,235', '12.3', '0.031')
        """
        digits = self.digits
        if self.rate and value >= 100:
            digits = 0
        elif self.rate and 0 < value < 1:
            digits = max(digits, 1 - math.floor(math.log10(value)))
        return f"{value:,.{digits + finer}f}"


class TableRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One row."""

    labels: dict[str, str]
    """What it is of: its set, method, case ... ; no two rows of a table agree in all of them."""
    figures: dict[str, Figure] = {}
    """By the column's key."""
    missing: str = ""
    """Why there are no figures; a package or images that are not there, in words."""
    note: str = ""


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table with everything that is needed to judge it."""

    name: str
    """``table1``, ``table2``, ``table3`` or ``figure5``."""
    title: str
    columns: list[Column]
    rows: list[TableRow]
    paper: list[TableRow]
    """What the paper printed."""
    machine: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    notes: list[str] = []
    """What must be known to read it: schedules that were cut down, what was not measured."""


def figure(values: Sequence[float]) -> Figure:
    """Mean and standard deviation of some values, with the mean's 95 % interval under the normal distribution.

    Examples
    --------
    >>> figure([1.0, 3.0]).value
    2.0
    """
    given = np.array(values, np.float64)
    mean = float(given.mean())
    if len(given) < 2 or not np.isfinite(given).all():
        return Figure(value=mean, n=len(given))
    sd = float(given.std(ddof=1))
    half = _Z * sd / math.sqrt(len(given))
    return Figure(value=mean, sd=sd, n=len(given), low=mean - half, high=mean + half)


def rows_of(named: str, labels: Mapping[str, str], measure: Callable[[], Iterable[TableRow]]) -> list[TableRow]:
    """The rows of a set that `measure` makes; if it cannot, those it made and one that says why.

    Parameters
    ----------
    named
        The set.
    labels
        What the row that says why is of.
    """
    rows: list[TableRow] = []
    try:
        rows.extend(measure())  # those made before it fails are kept
    except StainstreamError as error:
        _log.warning("%s: %s", named, error)
        rows.append(TableRow(labels={"set": named, **labels}, missing=str(error)))
    return rows


def write(table: Table, path: Path) -> None:
    """Write a table as JSON.

    Raises
    ------
    UsageError
        If it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, _lines(_short(table)))
    except OSError as error:
        raise UsageError(f"cannot write {path}", error.strerror or str(error)) from error


def read(path: Path) -> Table:
    """Read what `write` wrote.

    Raises
    ------
    UsageError
        If the file is missing or holds something else.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Table)
    except OSError as error:
        raise UsageError(f"cannot read {path}", error.strerror or str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}", f"it is no table of stainstream bench: {error}") from error


def _lines(table: Table) -> bytes:
    """JSON with a row a line, so that differences between two files can be read."""
    parts = []
    for key in Table.__struct_fields__:
        value = getattr(table, key)
        if key in ("rows", "paper", "columns", "notes"):
            inside = b",\n  ".join(msgspec.json.encode(each) for each in value)
            parts.append(b' "%s": [\n  %s\n ]' % (key.encode(), inside))
        else:
            parts.append(b' "%s": %s' % (key.encode(), msgspec.json.encode(value)))
    return b"{\n" + b",\n".join(parts) + b"\n}\n"


def _short(table: Table) -> Table:
    """The same with numbers of no more digits than mean something; what is no number becomes none."""
    return msgspec.structs.replace(
        table,
        rows=[
            msgspec.structs.replace(row, figures={key: _rounded(each) for key, each in row.figures.items()})
            for row in table.rows
        ],
    )


def _rounded(given: Figure) -> Figure:
    values = {key: _number(getattr(given, key)) for key in ("sd", "low", "high")}
    return msgspec.structs.replace(given, value=_number(given.value) or 0.0, **values)


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 5)
