"""The rows of table 1: every method of a fold, ready to run, or the reason why it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from stainstream.color.lut import quantize
from stainstream.errors import StainstreamError, UsageError
from stainstream.evaluation.evaluate import Method
from stainstream.frame import RGB8
from stainstream.normalizers import TABLE
from stainstream.normalizers.conventions import PROFILES

from . import classic, stainnets
from .ceiling import best_map
from .sets import Fold, ImageSet

__all__ = ["Entry", "Run", "entries"]

Run: TypeAlias = Callable[[RGB8, RGB8, RGB8 | None], RGB8]
"""What a method makes of a source, its target, and a teacher's translation; most look at the first alone."""

_PROFILE = "staintools"  # what the paper's table was made with


@dataclass
class Entry:
    """One method in one way."""

    method: str
    how: str
    run: Run | None = None
    each_frame: bool = False
    """Whether its result depends on the frame that it is given, so that tiles are given one by one."""
    timed: Callable[[RGB8], Method] | None = None
    """Given a reference, what is timed."""
    missing: str = ""
    note: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.method, self.how


def entries(
    fold: Fold,
    chosen: ImageSet,
    data: Path,
    packages: Mapping[str, classic.Fastest | str],
    schedule: stainnets.Schedule,
    threads: int | None,
) -> list[Entry]:
    """Every row of the table for a fold; `packages` are public ones by the method's name, or why there is none."""
    found = [Entry("identity", "", lambda source, _target, _other: source)]
    for method in classic.NAMES:
        found += [_package(method, packages[method]), _ours(method), _fixed(method, fold, threads)]
    found.append(_staingan(chosen, data, fold))
    found += list(_stainnets(chosen, data, fold, schedule, threads))
    found.append(Entry("best pixelwise map", "fitted to the test pair", None))
    found[-1].run = lambda source, target, _other: best_map(source, target)
    return found


def _package(method: str, found: classic.Fastest | str) -> Entry:
    """A public package, in each frame again."""
    name, how = classic.NAMES[method], "each frame, public package"
    if isinstance(found, str):
        return Entry(name, how, missing=found)

    def run(source: RGB8, reference: RGB8, _other: RGB8 | None) -> RGB8:
        try:
            found.fit(reference)
            return found.normalize(source)
        except Exception:  # noqa: BLE001 - whatever another package raises: its frame stays as it is
            return source

    def timed(reference: RGB8) -> Method:
        found.fit(reference)
        return found.normalize

    return Entry(name, how, run, each_frame=True, timed=timed, note=found.package)


def _ours(method: str) -> Entry:
    """Ours as the paper runs them, in each frame again."""
    run, kind = classic.each_frame(method, _PROFILE), TABLE[method].load()

    def timed(reference: RGB8) -> Method:
        goal = kind.goal(reference, PROFILES[_PROFILE])
        return lambda image: run(image, goal)

    how = f"each frame, ours ({_PROFILE})"
    entry = Entry(classic.NAMES[method], how, None, each_frame=True, timed=timed)
    if (absent := TABLE[method].missing) is not None:
        entry.missing = f"not installed: {absent}"
    else:
        entry.run = lambda source, target, _other: run(source, target)
    return entry


def _fixed(method: str, fold: Fold, threads: int | None) -> Entry:
    entry = Entry(classic.NAMES[method], "fixed statistics, table")
    entry.note = "of the test pair itself" if fold.alone else "of all other cases"
    try:
        fitted = classic.fixed(method, fold.trains)
    except StainstreamError as error:
        entry.missing = str(error)
        return entry
    entry.run = lambda source, _target, _other: quantize(fitted(source / 255.0), fitted.rounding)
    entry.timed = lambda _reference: _table(fitted, threads)
    return entry


def _table(fitted: Any, threads: int | None) -> Method:
    from stainstream.api import load

    loaded: Method = load(fitted, "auto", threads)
    return loaded


def _staingan(chosen: ImageSet, data: Path, fold: Fold) -> Entry:
    """Translated images or a checkpoint; timed is a generator of the full size, whose weights do not matter."""
    entry = Entry("StainGAN", "as given", timed=lambda _reference: _full_size())
    if chosen.translated and all(each.translated is not None for each in fold.tests):
        entry.run = lambda _source, _target, other: _there(other)
        entry.note = "translated images; timed is the full-size generator in torch"
    elif chosen.generator:
        entry.how, entry.each_frame = "generator", True
        try:
            made = stainnets.generator(data / chosen.generator)
        except StainstreamError as error:
            entry.missing, entry.timed = str(error), None
            return entry
        entry.run = lambda source, _target, _other: made(source)
        entry.note = "timed is the full-size generator in torch"
    else:
        absent = f"{chosen.translated} is not there" if chosen.translated else "none given"
        entry.missing = f"no translated images and no generator: {absent}"
    return entry


def _there(image: RGB8 | None) -> RGB8:
    if image is None:
        raise UsageError("no translated image", "the folder of translated images lacks one")
    return image


def _full_size() -> Method:
    """A StainGAN generator of 9 blocks, from bytes to bytes."""
    stainnets.torch_there("cannot time a StainGAN")
    from stainstream.training.networks import ResnetGenerator
    from stainstream.training.translate import translate

    network = ResnetGenerator().eval().requires_grad_(requires_grad=False)
    return lambda image: translate(network, image, max(image.shape[:2]))


def _stainnets(
    chosen: ImageSet, data: Path, fold: Fold, schedule: stainnets.Schedule, threads: int | None
) -> Iterator[Entry]:
    entry = Entry("StainNet", "as given, table")
    if chosen.model:
        try:
            place = data / chosen.model
            made: Method = stainnets.given(str(place) if place.exists() else chosen.model, threads)
        except StainstreamError as error:
            entry.missing = str(error)
        else:
            entry.run = lambda source, _target, _other: made(source)
            entry.timed = lambda _reference: made
            entry.note = Path(chosen.model).name
    else:
        entry.missing = "no model given"
    yield entry

    taught = Entry("StainNet", "student of the fold, table")
    network = Entry("StainNet", "student of the fold, network in torch", note="timed only")
    try:
        if fold.alone:
            raise UsageError("no student", "there is one case only, so nothing to learn from but the test")
        student = stainnets.student(fold.trains, schedule)
    except StainstreamError as error:
        taught.missing = network.missing = str(error)
    else:
        from stainstream.training.distil import apply

        taught.run = lambda source, _target, _other: apply(student, source)
        taught.timed = lambda _reference: _loaded(student, threads)
        network.timed = lambda _reference: lambda image: apply(student, image)
        taught.note = "of the translated images of all other cases"
    yield taught
    yield network


def _loaded(student: Any, threads: int | None) -> Method:
    made: Method = stainnets.loaded(student, "nearest", "student", threads)
    return made
