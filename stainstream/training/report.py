"""What a training leaves to look at: losses as CSV and as a plot, sheets of samples, the distance of colors."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stainstream.errors import MissingExtra
from stainstream.frame import RGB8, Frame, PixelFormat
from stainstream.sinks.image import write_image

from .checkpoint import write_whole

__all__ = ["Losses", "color_distance", "sheet"]

_DIRECTIONS = 64
_QUANTILES = 1000


class Losses:
    """A table of losses that is written to ``losses.csv`` and drawn into ``losses.png``.

    Parameters
    ----------
    folder
        Where the two files stand.
    until
        Rows of later steps are forgotten: a training that goes on from a checkpoint writes them again.
    """

    def __init__(self, folder: Path, until: int) -> None:
        self._file, self._plot = folder / "losses.csv", folder / "losses.png"
        self.rows: list[dict[str, float]] = []
        if until and self._file.exists():
            with self._file.open(newline="") as file:
                rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
            self.rows = [row for row in rows if row["step"] <= until]

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add the row of a step."""
        self.rows.append({"step": float(step), **values})

    def write(self) -> None:
        """Write the table."""
        text = io.StringIO()
        table = csv.DictWriter(text, list(self.rows[0]) if self.rows else ["step"], lineterminator="\n")
        table.writeheader()
        table.writerows({**row, "step": int(row["step"])} for row in self.rows)
        write_whole(self._file, text.getvalue().encode())

    def draw(self) -> None:
        """Draw the table, once it has rows."""
        if not self.rows:
            return
        try:
            from matplotlib.figure import Figure
        except ModuleNotFoundError as error:
            raise MissingExtra(f"cannot draw {self._plot}", "matplotlib", "train") from error
        names = [name for name in self.rows[0] if name not in {"step", "rate", "psnr"}]
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.subplots()
        for name in names:
            axes.plot([row["step"] for row in self.rows], [row[name] for row in self.rows], label=name, linewidth=1)
        axes.set(xlabel="step", ylabel="loss", yscale="log")
        axes.legend(fontsize=7, ncols=2)
        data = io.BytesIO()
        figure.savefig(data, format="png", dpi=110)
        write_whole(self._plot, data.getbuffer())


def sheet(path: Path, rows: Sequence[Sequence[RGB8]]) -> None:
    """Write rows of equally large images as one picture."""
    image = np.vstack([np.hstack(row) for row in rows])
    write_image(path, Frame(np.ascontiguousarray(image), PixelFormat.RGB8), compression=6)


def color_distance(images: Sequence[RGB8], others: Sequence[RGB8]) -> float:
    """How far apart the colors of two sets of images are, in levels; nothing is asked about pairs.

    The sliced Wasserstein distance of order 1: the mean over directions in RGB of the distance between quantiles.
    """
    directions = np.random.default_rng(0).normal(size=(3, _DIRECTIONS)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=0)
    one, other = (_quantiles(_colors(side), directions) for side in (images, others))
    return float(np.abs(one - other).mean())


def _colors(images: Sequence[RGB8]) -> NDArray[np.uint8]:
    return np.concatenate([each.reshape(-1, 3) for each in images])


def _quantiles(colors: NDArray[np.uint8], directions: NDArray[np.float32]) -> NDArray[np.float32]:
    projected = np.sort(colors.astype(np.float32) @ directions, axis=0)
    at = np.linspace(0, len(projected) - 1, _QUANTILES).astype(int)
    return np.asarray(projected[at], np.float32)
