"""Figure 5's point: how much the classic methods depend on the reference image, and StainNet does not."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from stainstream.benchmark.rows import machine
from stainstream.color.lut import quantize
from stainstream.errors import StainstreamError
from stainstream.evaluation.scores import Score
from stainstream.frame import RGB8
from stainstream.normalizers import TABLE
from stainstream.normalizers.conventions import PROFILES

from . import classic, stainnets
from .figures import Column, Figure, Table, TableRow, figure, rows_of
from .sets import TILE, Field, ImageSet, cut, fields
from .table1 import KEYS, Options

__all__ = ["figure5"]

_PROFILE = PROFILES["staintools"]
_MEASURES = {"ssim_gt": "SSIM GT", "psnr_gt": "PSNR GT", "ssim_source": "SSIM Source"}

_log = logging.getLogger(__name__)


def figure5(chosen: Sequence[ImageSet], data: Path, options: Options) -> Table:
    """Try every target tile as the reference of a tile of every case; what cannot be done is a row that says why."""
    rows: list[TableRow] = []
    for each in chosen:
        rows += rows_of(each.name, {"method": "all"}, partial(_rows, each, data, options))
    columns = []
    for key, title in _MEASURES.items():
        digits = 2 if key == "psnr_gt" else 3
        columns.append(Column(key=key, title=title, digits=digits))
        columns.append(Column(key=f"{key}_spread", title=f"{title}, spread", digits=digits))
        columns.append(Column(key=f"{key}_worst", title=f"{title}, worst", digits=digits))
    return Table(
        name="figure5",
        title="Figure 5: the reference image",
        columns=columns,
        rows=rows,
        paper=[],
        machine=machine(),
        settings={"tile": TILE, "profile": "staintools", "student_steps": options.schedule.steps},
        notes=[
            f"The tile of {TILE}x{TILE} in the middle of each image, with every target tile as the reference.",
            "Spread: standard deviation over references; worst: the lowest over references; means over the tiles.",
            "StainNet has no reference: as given, it does not spread. It depends on what it learned from instead:",
            "of the students, one was trained on each case alone, and each tile is given to those of all other cases.",
        ],
    )


def _rows(chosen: ImageSet, data: Path, options: Options) -> Iterator[TableRow]:
    given = fields(chosen, data)
    references = [target for each in given for (target,) in cut(each.target)]
    tests = [(each.case, *_middle(each)) for each in given]
    _log.info("%s: %d tiles, %d references", chosen.name, len(tests), len(references))
    for method, title in classic.NAMES.items():
        labels = {"set": chosen.name, "method": title}
        if (absent := TABLE[method].missing) is not None:
            yield TableRow(labels=labels, missing=f"not installed: {absent}")
            continue
        goals = list(_goals(method, references))
        tried = [found for _, source, target in tests if (found := _tried(method, source, target, goals))]
        if tried:
            yield _row(labels, tried)
        else:
            yield TableRow(
                labels=labels, missing=f"it fits none of the source tiles, or none of {len(references)} references"
            )
    labels = {"set": chosen.name, "method": "StainNet, as given"}
    try:
        if not chosen.model:
            raise StainstreamError("no model given")
        place = data / chosen.model
        model = stainnets.given(str(place) if place.exists() else chosen.model, options.threads)
        yield _row(labels, [[_measured(model(source), source, target)] for _, source, target in tests])
    except StainstreamError as error:
        yield TableRow(labels=labels, missing=str(error))
    yield _students(chosen, given, tests, options)


def _students(
    chosen: ImageSet, given: Sequence[Field], tests: Sequence[tuple[str, RGB8, RGB8]], options: Options
) -> TableRow:
    labels = {"set": chosen.name, "method": "StainNet, students of single other cases"}
    cases = list(dict.fromkeys(each.case for each in given))
    if len(cases) < 3:
        return TableRow(labels=labels, missing=f"{len(cases)} of the 3 cases that are needed at least")
    try:
        made = {
            case: stainnets.student([each for each in given if each.case == case], options.schedule) for case in cases
        }
    except StainstreamError as error:
        return TableRow(labels=labels, missing=str(error))
    from stainstream.training.distil import apply

    return _row(
        labels,
        [
            [_measured(apply(network, source), source, target) for other, network in made.items() if other != case]
            for case, source, target in tests
        ],
    )


def _middle(field: Field) -> tuple[RGB8, RGB8]:
    tiles = list(cut(field.source, field.target))
    source, target = tiles[len(tiles) // 2]
    return source, target


def _goals(method: str, references: Sequence[RGB8]) -> Iterator[Any]:
    """The statistics of each reference that the method can use."""
    kind = TABLE[method].load()
    for reference in references:
        try:
            yield kind.study(reference, _PROFILE, "target")
        except StainstreamError as error:
            _log.debug("%s: %s", method, error)


def _tried(method: str, source: RGB8, target: RGB8, goals: Sequence[Any]) -> list[tuple[float, ...]]:
    """The measures under each reference; none of a source that the method cannot use."""
    kind = TABLE[method].load()
    try:
        known = kind.study(source, _PROFILE, "source")
    except StainstreamError as error:
        _log.debug("%s: %s", method, error)
        return []
    found = []
    for goal in goals:
        fitted = kind(known, goal, _PROFILE, method)
        found.append(_measured(quantize(fitted(source / 255.0), fitted.rounding), source, target))
    return found


def _measured(result: RGB8, source: RGB8, target: RGB8) -> tuple[float, ...]:
    return Score.of("", "", result, source, target).values


def _row(labels: dict[str, str], tried: Sequence[Sequence[tuple[float, ...]]]) -> TableRow:
    """Mean, spread over references and worst, each first of a tile and then over tiles."""
    figures: dict[str, Figure] = {}
    for key in _MEASURES:
        columns = [np.array(each)[:, KEYS.index(key)] for each in tried]
        figures[key] = figure([float(each.mean()) for each in columns])
        figures[f"{key}_spread"] = figure([float(each.std(ddof=1)) if len(each) > 1 else 0.0 for each in columns])
        figures[f"{key}_worst"] = figure([float(each.min()) for each in columns])
    return TableRow(labels=labels, figures=figures, note=f"{max(map(len, tried))} references")
