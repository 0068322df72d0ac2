"""Charts as SVG text: dots with intervals, one row below the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Dot", "dots"]

_WIDTH, _LEFT, _RIGHT, _ROW, _TOP, _BOTTOM = 760, 330, 70, 20, 28, 34  # pixels


@dataclass(frozen=True)
class Dot:
    """One row of a chart."""

    label: str
    value: float
    shown: str
    """The value in figures."""
    low: float | None = None
    high: float | None = None
    paper: float | None = None
    """What the paper printed for the same; a diamond."""
    strong: bool = False


def dots(title: str, rows: Sequence[Dot], *, logarithmic: bool = False) -> str:
    """Draw rows of dots over one axis, each with its interval and the paper's figure where there is one."""
    values = [each for row in rows for each in (row.value, row.low, row.high, row.paper) if each is not None]
    if logarithmic:
        values = [each for each in values if each > 0]
    if not values:
        return ""
    place, ticks = (_log_axis if logarithmic else _axis)(min(values), max(values))
    height = _TOP + _ROW * len(rows) + _BOTTOM
    floor = height - _BOTTOM
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">',
        f'<text x="{_LEFT}" y="16" class="head">{escape(title)}</text>',
    ]
    for tick in ticks:
        x = place(tick)
        parts.append(f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{floor}" class="grid"/>')
        parts.append(f'<text x="{x:.1f}" y="{floor + 16}" text-anchor="middle" class="tick">{tick:g}</text>')
    for number, row in enumerate(rows):
        parts += _drawn(row, _TOP + _ROW * (number + 0.5), place, logarithmic=logarithmic)
    return "".join([*parts, "</svg>"])


def _drawn(row: Dot, y: float, place: Callable[[float], float], *, logarithmic: bool) -> list[str]:
    strong = " strong" if row.strong else ""
    parts = [f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end" class="name{strong}">{escape(row.label)}</text>']
    floor = 1e-9 if logarithmic else -math.inf
    if row.low is not None and row.high is not None and row.low > floor:
        parts.append(
            f'<line x1="{place(row.low):.1f}" y1="{y}" x2="{place(row.high):.1f}" y2="{y}" class="interval{strong}"/>'
        )
    if row.paper is not None:
        x = place(row.paper)
        parts.append(
            f'<path d="M{x:.1f} {y - 6}l6 6l-6 6l-6 -6z" class="paper"><title>paper: {row.paper:g}</title></path>'
        )
    if row.value > floor:
        parts.append(f'<circle cx="{place(row.value):.1f}" cy="{y}" r="4.5" class="dot{strong}"/>')
    parts.append(f'<text x="{_WIDTH - 4}" y="{y + 4}" text-anchor="end" class="tick{strong}">{row.shown}</text>')
    return parts


def _axis(low: float, high: float) -> tuple[Callable[[float], float], list[float]]:
    spread = (high - low) or max(abs(high), 1.0) * 0.1
    step = 10 ** math.floor(math.log10(spread / 3))
    step *= next(each for each in (1, 2, 5, 10) if spread / (each * step) <= 6)
    first, last = math.floor(low / step), math.ceil(high / step)
    wide = _WIDTH - _LEFT - _RIGHT
    ticks = [round(k * step, 10) for k in range(first, last + 1)]
    return lambda value: _LEFT + (value / step - first) / max(1, last - first) * wide, ticks


def _log_axis(low: float, high: float) -> tuple[Callable[[float], float], list[float]]:
    first, last = math.floor(math.log10(low)), max(math.ceil(math.log10(high)), math.floor(math.log10(low)) + 1)
    wide = _WIDTH - _LEFT - _RIGHT
    return (
        lambda value: _LEFT + (math.log10(value) - first) / (last - first) * wide,
        [10.0**k for k in range(first, last + 1)],
    )
