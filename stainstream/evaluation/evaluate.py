"""Methods on pairs of images."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from stainstream.color.histogram import ColorCounts
from stainstream.errors import StainstreamError, UsageError
from stainstream.frame import RGB8
from stainstream.normalizers import TABLE
from stainstream.normalizers.conventions import Profile
from stainstream.normalizers.fitted import Fitted

from .pairs import Pair
from .scores import Score
from .sheet import Sheet

__all__ = ["IDENTITY", "Evaluation", "Method", "evaluate", "fit"]

_log = logging.getLogger(__name__)

Method: TypeAlias = Callable[[RGB8], RGB8]

IDENTITY = "not normalized"
"""The row that every table begins with."""


@dataclass
class Evaluation:
    """What came of it."""

    scores: list[Score] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """Names of pairs that could not be evaluated."""


def evaluate(
    pairs: Sequence[Pair],
    methods: Mapping[str, Method],
    sheet: Sheet | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Evaluation:
    """Measure every method, every result of others and the source as it is, on each pair.

    A pair of which anything cannot be read or compared is named in the log, counted and left out for all methods, so
    that their means stay comparable.

    Parameters
    ----------
    sheet
        Where to draw what the methods made.
    progress
        Called with the number of pairs that are done.

    Raises
    ------
    UsageError
        If no pair is left.
    """
    done = Evaluation()
    for count, pair in enumerate(pairs, 1):
        try:
            source, target, results = _images(pair, methods)
            scores = [Score.of(pair.name, name, result, source, target) for name, result in results.items()]
        except StainstreamError as error:
            done.skipped.append(pair.name)
            _log.warning("skipping %s: %s", pair.name, error)
        else:
            done.scores += scores
            for name, result in results.items():
                if sheet is not None and name != IDENTITY:
                    sheet.add(f"{pair.name}, {name}", source, result, target)
        progress(count)
    if not done.scores:
        raise UsageError("cannot evaluate", f"none of {len(pairs)} pairs could be read and compared")
    return done


def _images(pair: Pair, methods: Mapping[str, Method]) -> tuple[RGB8, RGB8, dict[str, RGB8]]:
    source, target = pair.read(pair.source), pair.read(pair.target)
    results = {IDENTITY: source}
    results |= {name: method(source) for name, method in methods.items()}
    results |= {name: pair.read(path) for name, path in pair.results.items()}
    return source, target, results


def fit(method: str, profile: Profile, pairs: Sequence[Pair]) -> Fitted[Any]:
    """Fit a classic method to all sources and all targets together; what cannot be read is left out.

    Raises
    ------
    UsageError, MissingExtra, FrameError
        If there is no such method or profile, or it cannot be fitted.
    """
    kind = TABLE[method].load()
    sides = [ColorCounts.gather(_readable(pairs, side)) for side in ("source", "target")]
    return kind.fit(sides[0], target=sides[1], profile=profile)


def _readable(pairs: Sequence[Pair], side: str) -> Iterator[RGB8]:
    for pair in pairs:
        try:
            yield pair.read(getattr(pair, side))
        except StainstreamError as error:
            _log.debug("not fitted to %s: %s", pair.name, error)  # `evaluate` names and counts it
