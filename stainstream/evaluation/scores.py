"""What the measures gave, image by image and in the mean."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stainstream.errors import UsageError
from stainstream.frame import RGB8
from stainstream.metrics import delta_e, psnr, ssim, ssim_source
from stainstream.wholefile import write_whole

__all__ = ["MEASURES", "Measure", "Score", "Summary", "summaries", "write_scores", "write_summaries"]


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure of a result."""

    key: str
    """In files."""
    title: str
    """For people."""
    digits: int
    """Behind the point, as the paper prints it."""
    of: Callable[[RGB8, RGB8, RGB8], float]
    """Of the result, the source and the target."""


MEASURES = (
    Measure("ssim_gt", "SSIM GT", 3, lambda result, _, target: ssim(result, target)),
    Measure("psnr_gt", "PSNR GT", 2, lambda result, _, target: psnr(result, target)),
    Measure("ssim_source", "SSIM Source", 3, lambda result, source, _: ssim_source(result, source)),
    Measure("ciede2000", "CIEDE2000", 2, lambda result, _, target: delta_e(result, target)),
)
"""The paper's three, and the color difference that people see."""


@dataclass(frozen=True, slots=True)
class Score:
    """What one method made of one image."""

    image: str
    method: str
    values: tuple[float, ...]
    """In the order of `MEASURES`."""

    @classmethod
    def of(cls, image: str, method: str, result: RGB8, source: RGB8, target: RGB8) -> Score:
        """Measure a result.

        Raises
        ------
        FrameError
            If the three differ in size, or are too small.
        """
        return cls(image, method, tuple(measure.of(result, source, target) for measure in MEASURES))


@dataclass(frozen=True, slots=True)
class Summary:
    """One method over all images."""

    method: str
    images: int
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    """Sample standard deviations; not a number where there is one image only."""


def summaries(scores: Sequence[Score]) -> list[Summary]:
    """Mean and standard deviation of each method, in the order in which they occur."""
    methods = dict.fromkeys(score.method for score in scores)
    return [_summary(method, [score.values for score in scores if score.method == method]) for method in methods]


def _summary(method: str, rows: Sequence[tuple[float, ...]]) -> Summary:
    values = np.array(rows)
    spread = [float(np.std(column, ddof=1)) if _spreads(column) else math.nan for column in values.T]
    return Summary(method, len(rows), tuple(values.mean(axis=0).tolist()), tuple(spread))


def _spreads(column: Any) -> bool:
    return len(column) > 1 and bool(np.isfinite(column).all())


def write_scores(path: Path, scores: Sequence[Score]) -> None:
    """Write a CSV file with a row for each image and method.

    Raises
    ------
    UsageError
        If it cannot be written.
    """
    head = ["image", "method", *(measure.key for measure in MEASURES)]
    _write(path, [head, *([score.image, score.method, *score.values] for score in scores)])


def write_summaries(path: Path, rows: Sequence[Summary]) -> None:
    """Write a CSV file with a row for each method; see `write_scores`."""
    head = ["method", "images", *(f"{measure.key}_{what}" for measure in MEASURES for what in ("mean", "sd"))]
    body = [
        [row.method, row.images, *(value for both in zip(row.means, row.deviations, strict=True) for value in both)]
        for row in rows
    ]
    _write(path, [head, *body])


def _write(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    try:
        write_whole(path, text.getvalue().encode("utf-8", "replace"))
    except OSError as error:
        raise UsageError(f"cannot write {path}", error.strerror or str(error)) from error
