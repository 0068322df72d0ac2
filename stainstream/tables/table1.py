"""Table 1: how near each method comes to the target, how much of the source it keeps, and how fast it is."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from stainstream.benchmark.rows import machine
from stainstream.config import Settings
from stainstream.errors import StainstreamError
from stainstream.evaluation.evaluate import Method
from stainstream.evaluation.scores import MEASURES, Score
from stainstream.frame import RGB8

from . import paper
from .classic import fastest
from .entries import Entry, entries
from .figures import Figure, Table, TableRow, figure, rows_of
from .rates import frames, rates
from .sets import TILE, Field, ImageSet, cut, fields, folds
from .stainnets import Schedule

__all__ = ["KEYS", "Options", "scored", "summed", "table1"]

KEYS = tuple(measure.key for measure in MEASURES)

_log = logging.getLogger(__name__)


class Options(Settings, frozen=True, kw_only=True):
    """How tables 1 and 2 and figure 5 are measured."""

    schedule: Schedule = Schedule()
    seconds: float = 1.0
    """How long to time each figure; 0 to time nothing."""
    threads: int | None = None


def table1(chosen: Sequence[ImageSet], data: Path, options: Options) -> Table:
    """Measure every set; what cannot be is a row that says why."""
    rows: list[TableRow] = []
    for each in chosen:
        rows += rows_of(each.name, {"method": "all"}, partial(_rows, each, data, options))
    return Table(
        name="table1",
        title="Table 1: methods",
        columns=paper.columns(*KEYS, "fps", "fps_io"),
        rows=rows,
        paper=paper.TABLE1,
        machine=machine(),
        settings={
            "tile": TILE,
            "frame": 512,
            "threads": options.threads or "all",
            "student_steps": options.schedule.steps,
        },
        notes=[
            f"Means over tiles of {TILE}x{TILE}, or over whole images, of held-out cases, one case after the other.",
            "In each frame: estimated in the very tile or image, its own target the reference, as in section 3.3.",
            "Fixed: statistics of all other cases, sources and targets pooled; a set of one case lends its own.",
            "The best pixelwise map knows the target: a ceiling, no method.",
            "Frames a second are of 512x512, bytes in and out, one frame after the other.",
        ],
    )


def _rows(chosen: ImageSet, data: Path, options: Options) -> Iterator[TableRow]:
    given = fields(chosen, data)
    scores: dict[tuple[str, str], list[tuple[str, str, Score]]] = {}
    first: list[Entry] = []
    missing: dict[tuple[str, str], str] = {}
    speeds: dict[tuple[str, str], dict[str, Figure]] = {}
    (frame, reference), *_ = frames(given)
    packages = fastest(frame, reference)
    for fold in folds(given):
        _log.info("%s: case %s held out", chosen.name, fold.case)
        now = entries(fold, chosen, data, packages, options.schedule, options.threads)
        if not first:
            first, speeds = now, _rates(now, given, options)
        for entry in now:
            if entry.missing:
                missing[entry.key] = entry.missing
            elif entry.run is not None:
                scores.setdefault(entry.key, []).extend(
                    (fold.case, unit, score) for field in fold.tests for unit, score in scored(entry, field)
                )
    for entry in first:
        labels = {"set": chosen.name, "method": entry.method, "how": entry.how}
        if entry.key in missing:
            yield TableRow(labels={**labels, "unit": "tiles", "case": "all"}, missing=missing[entry.key])
            continue
        yield from summed(labels, scores.get(entry.key, []), speeds.get(entry.key, {}), entry.note)


def scored(entry: Entry, field: Field) -> Iterator[tuple[str, Score]]:
    """Measure a method on a field's tiles, and on the whole of it."""
    run = entry.run
    assert run is not None
    other = field.translated
    whole = run(field.source, field.target, other)
    yield "whole", Score.of(field.name, entry.method, whole, field.source, field.target)
    sides = (field.source, field.target, whole, *((other,) if other is not None else ()))
    for source, target, result, *rest in cut(*sides):
        if entry.each_frame:
            result = run(source, target, rest[0] if rest else None)  # noqa: PLW2901 - the whole's tile is not its own
        yield "tiles", Score.of(field.name, entry.method, result, source, target)


def summed(
    labels: dict[str, str], scores: Sequence[tuple[str, str, Score]], speed: dict[str, Figure], note: str
) -> Iterator[TableRow]:
    """Rows of a method: all tiles, all images, and the tiles of each case."""
    cases = list(dict.fromkeys(case for case, _, _ in scores))
    if not scores:
        yield TableRow(labels={**labels, "unit": "tiles", "case": "all"}, figures=speed, note=note)
        return
    for unit, chosen in (("tiles", cases), ("whole", cases), *(("tiles", [case]) for case in cases if len(cases) > 1)):
        values = [score.values for case, of, score in scores if of == unit and case in chosen]
        figures = {key: figure(column) for key, column in zip(KEYS, zip(*values, strict=True), strict=True)}
        whole = chosen is cases
        yield TableRow(
            labels={**labels, "unit": unit, "case": "all" if whole else chosen[0]},
            figures=figures | (speed if whole and unit == "tiles" else {}),
            note=note,
        )


def _rates(now: Sequence[Entry], given: Sequence[Field], options: Options) -> dict[tuple[str, str], dict[str, Figure]]:
    """Frames a second of whatever can be timed."""
    if not options.seconds:
        return {}
    timed = frames(given)
    methods: dict[tuple[str, str], Method] = {("identity", ""): _same}
    for entry in now:
        if entry.timed is None or (entry.missing and entry.method != "StainGAN"):
            continue
        try:
            methods[entry.key] = entry.timed(timed[0][1])
        except StainstreamError as error:
            _log.warning("not timed: %s: %s", " ".join(entry.key), error)
    names = {str(key): key for key in methods}
    _log.info("timing %d methods", len(methods))
    measured = rates({name: methods[key] for name, key in names.items()}, [each[0] for each in timed], options.seconds)
    return {names[name]: figures for name, figures in measured.items()}


def _same(image: RGB8) -> RGB8:
    return image.copy()
