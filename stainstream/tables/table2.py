"""Table 2: StainNet with 0 to 3 of its convolutions 3x3."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from stainstream.benchmark.rows import machine
from stainstream.errors import ModelError
from stainstream.evaluation.scores import Score

from . import paper
from .entries import Entry, Run
from .figures import Column, Table, TableRow, figure, rows_of
from .sets import TILE, ImageSet, fields, folds
from .stainnets import student
from .table1 import KEYS, Options, scored, summed

__all__ = ["table2"]

_VARIANTS = range(4)
_SOURCE = KEYS.index("ssim_source")

_log = logging.getLogger(__name__)


def table2(chosen: Sequence[ImageSet], data: Path, options: Options) -> Table:
    """Train and measure the four variants on every set; what cannot be is a row that says why."""
    rows: list[TableRow] = []
    for each in chosen:
        rows += rows_of(each.name, {"conv3x3": "all"}, partial(_rows, each, data, options))
    schedule = options.schedule
    return Table(
        name="table2",
        title="Table 2: convolutions of 3x3",
        columns=[*paper.columns(*KEYS), _LOST],
        rows=rows,
        paper=paper.TABLE2,
        machine=machine(),
        settings={"tile": TILE, "steps": schedule.steps, "patch_steps": schedule.patch_steps, "seed": schedule.seed},
        notes=[
            "Students of the translated images of all other cases, by the fast recipe, not the paper's 300 epochs:",
            f"{schedule.steps} steps of 16,384 pixels; with 3x3, {schedule.patch_steps} steps of 16 patches of 32x32.",
            "SSIM Source lost: of the same tile, without 3x3 convolutions less with them, mean and 95 % interval.",
        ],
    )


_LOST = Column(key="lost", title="SSIM Source lost", digits=4)


def _rows(chosen: ImageSet, data: Path, options: Options) -> Iterator[TableRow]:
    given = fields(chosen, data)
    everything = list(folds(given))
    if everything[0].alone:
        raise ModelError("no student", "there is one case only, so nothing to learn from but the test")
    scores: dict[int, list[tuple[str, str, Score]]] = {each: [] for each in _VARIANTS}
    for fold in everything:
        for variant in _VARIANTS:
            _log.info("%s: case %s held out, %d convolutions of 3x3", chosen.name, fold.case, variant)
            network = student(fold.trains, options.schedule, variant)
            entry = Entry("StainNet", "", _run(network))
            scores[variant] += [
                (fold.case, unit, score) for field in fold.tests for unit, score in scored(entry, field)
            ]
    for variant in _VARIANTS:
        lost = [
            plain.values[_SOURCE] - score.values[_SOURCE]
            for (_, unit, plain), (_, _, score) in zip(scores[0], scores[variant], strict=True)
            if unit == "tiles"
        ]
        for number, row in enumerate(summed({"set": chosen.name, "conv3x3": str(variant)}, scores[variant], {}, "")):
            if number == 0:
                row.figures["lost"] = figure(lost)
            yield row


def _run(network: Any) -> Run:
    from stainstream.training.distil import apply

    return lambda source, _target, _other: apply(network, source)
