"""From frames to a calibration: statistics of a source, fitted to a target."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .api import open_source
from .color.convert import to_rgb8
from .color.histogram import ColorCounts
from .color.lut import quantize
from .color.survey import Survey
from .color.surveyor import Surveyor
from .config import Address
from .errors import FrameError, MissingExtra, SourceError, UsageError
from .frame import RGB8
from .normalizers import TABLE
from .normalizers.conventions import Conventions, Profile, conventions
from .normalizers.fitted import Fitted, Reference, Statistics
from .normalizers.store import names, read_reference
from .slides.opening import is_slide
from .sources import Source

__all__ = ["Calibration", "Taken", "blank_frames", "calibrate", "open_frames", "reference", "take", "target"]

_log = logging.getLogger(__name__)

_SAMPLES = 8  # frames that are kept to be looked at
_PATIENCE = 10  # times as many frames as were asked for may come without tissue before it is given up
_PROBES = 20_000  # colors at which two maps are compared
_SLIDES = {"tissue": "0.1", "order": "scatter"}


@dataclass
class Taken:
    """What was taken from a source."""

    name: str
    surveyor: Surveyor = field(default_factory=Surveyor)
    samples: list[RGB8] = field(default_factory=list)
    """A few of the frames, spread over all of them."""
    unusable: int = 0
    """Frames that could not be converted, and what the source itself rejected."""
    _stride: int = 1

    @property
    def frames(self) -> int:
        """How many frames with tissue there were."""
        return len(self.surveyor.palettes)

    def add(self, frame: RGB8) -> None:
        """Look at a frame."""
        if not self.surveyor.add(frame) or (self.frames - 1) % self._stride:
            return
        self.samples.append(frame.copy())
        if len(self.samples) > _SAMPLES:
            del self.samples[1::2]
            self._stride *= 2

    def survey(self) -> Survey:
        """What the frames were.

        Raises
        ------
        SourceError
            If none of them had tissue.
        """
        survey = self.surveyor.survey()
        if survey is None:
            seen = self.surveyor.skipped
            raise SourceError(
                f"cannot calibrate with {self.name}",
                f"none of its {seen} frames has tissue, ink aside, in 1 % of it" if seen else "it gave no frame",
                "show it tissue, in focus and neither too dark nor too bright",
            )
        return survey


@dataclass(frozen=True)
class Calibration:
    """A fitted method, and how far it can be relied upon."""

    fitted: Fitted[Any]
    surveys: dict[str, Survey]
    """What the frames of the ``"source"`` and of the ``"target"`` were, as far as known."""
    agreement: float | None
    """How much the maps learned from two halves of the frames differ, in levels, as a mean over the source's colors;
    None if one half alone does not tell. See `Survey.converged`."""


def open_frames(address: str) -> Source:
    """The source that `address` names; of whole slides, tiles of tissue from all over it."""
    target = Address.parse(address).target
    if target.lower().endswith((".tif", ".tiff")) and is_slide(target):
        address = f"slide:{address}"
    return open_source(address, _SLIDES)


def take(
    source: Source,
    frames: int,
    every: int = 1,
    tell: Callable[[Taken], None] = lambda taken: None,  # noqa: ARG005
) -> Taken:
    """Look at frames of a source until enough of them had tissue, it ends, or it is stopped.

    Parameters
    ----------
    source
        Not yet open.
    frames
        How many with tissue to take; 0 for all.
    every
        Use every n-th frame only, so that a stage can move in between.
    tell
        Called after every frame that was looked at.

    Raises
    ------
    SourceError
        If the source cannot be opened, is lost, or goes on without any tissue.
    """
    taken = Taken(source.target)
    with source:
        for count, frame in enumerate(source):
            if count % every:
                continue
            try:
                taken.add(to_rgb8(frame.image, frame.format))
            except FrameError:
                taken.unusable += 1
            tell(taken)
            if taken.frames == frames > 0 or (not taken.frames and taken.surveyor.skipped >= _PATIENCE * frames > 0):
                source.stop()
                break
        taken.unusable += sum(source.rejected.values())
    taken.survey()
    return taken


def blank_frames(source: Source, frames: int, seen: list[RGB8]) -> Iterator[RGB8]:
    """Frames of an open source as RGB8, at most so many; the first is kept in `seen`."""
    for frame, _ in zip(source, range(frames), strict=False):
        rgb = to_rgb8(frame.image, frame.format)
        if not seen:
            seen.append(rgb.copy())
        yield rgb


def target(where: str, frames: int = 0) -> Reference | Taken:
    """What things shall look like: a reference's file or name, or images, so many at most (0: all).

    Raises
    ------
    UsageError
        If it is neither, or cannot be read.
    MissingExtra
        If it is a slide, and OpenSlide is not installed.
    """
    if where.lower().endswith(".toml") or where in names():
        return read_reference(where)
    asked, cure = f"cannot use target {where!r}", f"give images, or a reference: {', '.join(names())}"
    try:
        source = open_frames(where)
        if not source.waits:
            raise UsageError(asked, "it is live", cure)
        return take(source, frames)
    except SourceError as error:
        raise UsageError(asked, str(error), cure) from error


def calibrate(
    source: Taken, wanted: Reference | Taken, method: str, profile: Profile | None = None, name: str = ""
) -> Calibration:
    """Fit a method to what was taken.

    Parameters
    ----------
    profile
        The conventions, or a profile's name; None for those of a reference, else ``"stream"``.
    name
        What the calibration is called; the method by default.

    Raises
    ------
    FrameError
        If one side has too little tissue, or too few stains.
    UsageError, MissingExtra
        If method or profile are unknown, do not fit the reference, or need what is not installed.
    """
    kind = TABLE[method].load()
    if isinstance(wanted, Taken):
        settings: Conventions = conventions(profile or "stream")
        goal: Any = wanted.surveyor.counts
        surveys = {"source": source.survey(), "target": wanted.survey()}
    else:
        settings = conventions(profile) if profile else wanted.conventions
        goal = wanted
        surveys = {"source": source.survey()} | ({"target": wanted.survey} if wanted.survey else {})
    fitted = kind.fit(source.surveyor.counts, goal, settings)
    one, other = (_half(fitted, each) for each in source.surveyor.halves)
    agreement = _difference(one, other, source.surveyor.counts) if one and other else None
    return Calibration(replace(fitted, name=name or method), surveys, agreement)


def reference(taken: Taken, profile: Profile | None = None, name: str = "") -> Reference:
    """How the frames look, for every method that is installed and that they tell enough for.

    Raises
    ------
    FrameError
        If they do not tell enough for any.
    """
    settings = conventions(profile or "stream")
    statistics: dict[str, Statistics] = {}
    reasons: list[str] = []
    for row in TABLE:
        try:
            statistics[row.name] = row.load().study(taken.surveyor.counts, settings, taken.name)
        except MissingExtra as error:
            _log.info("without %s: %s", row.name, error)
        except FrameError as error:
            reasons.append(str(error))
            _log.warning("without %s: %s", row.name, error)
    if not statistics:
        raise FrameError(f"cannot make a reference of {taken.name}", "; ".join(reasons))
    return Reference(statistics, settings, name or taken.name, taken.survey())


def _half(fitted: Fitted[Any], counts: ColorCounts) -> Fitted[Any] | None:
    try:
        return replace(fitted, source=fitted.study(counts, fitted.conventions))
    except FrameError:
        return None


def _difference(one: Fitted[Any], other: Fitted[Any], counts: ColorCounts) -> float:
    """Mean difference of two maps, in levels, over the colors that were counted."""
    step = -(-len(counts) // _PROBES)
    colors, weights = counts.colors[::step], counts.weights[::step]
    levels = [quantize(each(colors / 255.0)).astype(float) for each in (one, other)]
    return float(np.abs(levels[0] - levels[1]).mean(axis=1) @ weights / weights.sum())
