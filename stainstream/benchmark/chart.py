"""A chart of frame rates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stainstream.errors import MissingExtra, UsageError

from .rows import PAPER_FPS, Row

__all__ = ["chart"]

_INPUTS = 3  # more would not fit on a page


def chart(rows: Sequence[Row], file: Path) -> None:
    """Draw frames a second of 512x512 of the first three inputs, on a logarithmic axis, beside the paper's figure.

    Parameters
    ----------
    file
        ``.png`` or ``.svg``.

    Raises
    ------
    MissingExtra
        If matplotlib is not installed.
    UsageError
        If the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtra(f"cannot draw {file}", "matplotlib", "bench") from error
    inputs = list(dict.fromkeys(each.input for each in rows))[:_INPUTS]
    shown = [each for each in rows if each.size == "512x512" and each.input in inputs]
    shown.sort(key=lambda each: each.fps)
    figure = Figure(figsize=(9, 0.24 * len(shown) + 1.2), layout="constrained")
    axes = figure.subplots()
    colors = ["#c2185b" if each.engine.startswith(("lut", "stainstream")) else "#90a4ae" for each in shown]
    labels = [f"{each.engine}, {each.bench}, {each.threads} thr., {each.input}" for each in shown]
    bars = axes.barh(range(len(shown)), [each.fps for each in shown], color=colors)
    axes.bar_label(bars, [f"{each.fps:,.0f}" for each in shown], padding=3, fontsize=7)
    axes.set_yticks(range(len(shown)), labels, fontsize=7)
    axes.axvline(PAPER_FPS, color="black", linewidth=1, linestyle="--", label=f"paper, GTX 1080Ti, no I/O: {PAPER_FPS}")
    axes.set(xscale="log", xlabel="frames of 512x512 a second", title="stainstream beside its alternatives")
    axes.legend(loc="lower right", fontsize=7)
    axes.margins(x=0.12, y=0.01)
    try:
        figure.savefig(file)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot write {file}", str(error)) from error
