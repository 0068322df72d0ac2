"""What differs from a committed result by more than its interval."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .figures import Column, Figure, Table, TableRow

__all__ = ["Change", "Comparison", "compare"]

_ROUNDED = 1e-5  # files hold five digits


@dataclass(frozen=True)
class Change:
    """A figure that is outside the interval of the committed one, or not there any more."""

    labels: dict[str, str]
    column: str
    before: str
    now: str

    def __str__(self) -> str:
        what = ", ".join(each for each in self.labels.values() if each)
        return f"{what}: {self.column} was {self.before}, is {self.now}"


@dataclass(frozen=True)
class Comparison:
    """What came of it."""

    compared: int
    """Figures."""
    changes: list[Change]
    skipped: list[str]
    """What could not be compared, in words."""


def compare(now: Table, committed: Table) -> Comparison:
    """Compare every figure of `committed` with that of the same labels in `now`.

    A figure without an interval (of a single image) may differ by one unit of its last printed digit. Frames a second
    are compared on the same processor with as many threads only; sets that were not measured now are not compared.
    """
    fresh = {_key(row.labels): row for row in now.rows}
    sets = {row.labels.get("set") for row in now.rows}
    same = all(now.machine.get(key) == committed.machine.get(key) for key in ("processor", "cores"))
    same = same and now.settings.get("threads") == committed.settings.get("threads")
    columns = [each for each in committed.columns if same or not each.rate]
    skipped = [] if same else ["frames a second: another processor, or other threads"]
    changes: list[Change] = []
    compared = 0
    for row in committed.rows:
        name = row.labels.get("set")
        if name not in sets:
            if (note := f"{name}: not measured now") not in skipped:
                skipped.append(note)
            continue
        found = list(_changes(row, fresh.get(_key(row.labels)), columns))
        compared += sum(each.key in row.figures for each in columns)
        changes += found
    return Comparison(compared, changes, skipped)


def _key(labels: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def _changes(before: TableRow, now: TableRow | None, columns: list[Column]) -> Iterator[Change]:
    for column in columns:
        old = before.figures.get(column.key)
        if old is None:
            continue
        new = now.figures.get(column.key) if now else None
        if new is None:
            reason = (now.missing or "not measured") if now else "not there"
            yield Change(before.labels, column.title, _words(old, column), reason)
            continue
        step = 10.0**-column.digits
        low, high = (old.value - step, old.value + step) if old.low is None or old.high is None else (old.low, old.high)
        if not low - _ROUNDED <= new.value <= high + _ROUNDED:
            yield Change(before.labels, column.title, _words(old, column), column.shown(new.value, 1))


def _words(given: Figure, column: Column) -> str:
    value = column.shown(given.value, 1)
    if given.low is None or given.high is None:
        return value
    return f"{value} ({column.shown(given.low, 1)} to {column.shown(given.high, 1)})"
