"""Calibrations and references on disk: readable TOML, without any image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from stainstream.color.survey import Survey
from stainstream.errors import UsageError
from stainstream.toml import Document, lines, table, write

from . import TABLE
from .conventions import PROFILES, Conventions, conventions, profile_of
from .fitted import Fitted, Reference, Statistics

__all__ = ["find", "names", "read", "read_reference", "read_surveys", "save", "shelf"]

_HEADER = "# What stainstream knows of a stain; docs/normalizers.md explains the keys.\n"
_KEYS = ("name", "method")


def shelf() -> Path:
    """The folder of the calibrations and references that ship with stainstream."""
    package = Path(__file__).parent.parent
    installed = package / "shelf" / "calibration"
    return installed if installed.is_dir() else package.parent / "calibration"


def names() -> list[str]:
    """Names of the files that ship with stainstream."""
    return sorted(path.stem for path in shelf().glob("*.toml"))


def find(name: str | Path) -> Path:
    """The file of this path, or the shipped one of this name.

    Raises
    ------
    UsageError
        If there is none.
    """
    for path in (Path(name), shelf() / f"{name}.toml"):
        if path.is_file():
            return path
    raise UsageError(f"no calibration {str(name)!r}", f"it is neither a file nor one of {', '.join(names())}")


def save(path: Path, what: Fitted[Any] | Reference, surveys: Mapping[str, Survey] = MappingProxyType({})) -> None:
    """Write a fitted normalizer, or a reference that others can be fitted to.

    Parameters
    ----------
    path
        A ``.toml`` file; it is replaced as a whole, or left as it was.
    what
        The statistics.
    surveys
        What the frames of ``"source"`` and of ``"target"`` were, if known.

    Raises
    ------
    UsageError
        If the file cannot be written.
    """
    head, tables = {"name": what.name}, {}
    if isinstance(what, Fitted):
        head["method"] = what.method
        tables = {f"{side}.{what.method}": getattr(what, side) for side in ("source", "target")}
    else:
        tables = {f"target.{method}": statistics for method, statistics in what.statistics.items()}
        surveys = {"target": what.survey} if what.survey else {}
    profile = {"profile": profile_of(what.conventions)} | msgspec.structs.asdict(what.conventions)
    blocks = [lines(head), table("conventions", profile)]
    blocks += [table(title, msgspec.to_builtins(each)) for title, each in tables.items()]
    for side, survey in surveys.items():
        plain = msgspec.to_builtins(survey)
        palette = plain.pop("palette")
        blocks += [table(f"survey.{side}", plain), table(f"survey.{side}.palette", palette)]
    write(path, _HEADER + "\n".join(blocks))


def read(path: str | Path) -> Fitted[Any]:
    """Read a fitted normalizer.

    Raises
    ------
    UsageError
        If the file is missing, is no calibration, or has a wrong value or key: line and key are named.
    MissingExtra
        If its method needs a package that is not installed.
    """
    return _Reader(find(path)).normalizer()


def read_reference(path: str | Path) -> Reference:
    """Read the target of a calibration or of a reference; see `read`."""
    return _Reader(find(path)).reference()


def read_surveys(path: str | Path) -> dict[str, Survey]:
    """Read what the frames of the ``"source"`` and of the ``"target"`` were, if the file says so; see `read`."""
    return _Reader(find(path)).surveys()


class _Reader:
    """Checks one file."""

    def __init__(self, path: Path) -> None:
        self._file = file = Document(path)
        file.known(file.content, {*_KEYS, "conventions", "source", "target", "survey"})
        self.settings = self._conventions()

    def normalizer(self) -> Fitted[Any]:
        """The calibration."""
        content = self._file.content
        if "method" not in content:
            raise UsageError(
                f"cannot normalize with {self._file.path}",
                "it has no method: it is a reference, without a source",
                "fit a method to frames, with this as its target",
            )
        method = str(content["method"])
        if method not in [row.name for row in TABLE]:
            known = ", ".join(row.name for row in TABLE)
            raise self._file.error("", "method", f"unknown method {method!r}; known are {known}")
        sides = [self._statistics(side, method) for side in ("source", "target")]
        name = str(content.get("name", method))
        survey = self.surveys().get("source")
        return TABLE[method].load()(sides[0], sides[1], self.settings, name, survey=survey)

    def reference(self) -> Reference:
        """The target, under every method that is installed."""
        methods = self._file.tables("target")
        self._file.known(methods, {row.name for row in TABLE}, "target")
        usable = [row.name for row in TABLE if row.name in methods and row.missing is None]
        statistics = {method: self._statistics("target", method) for method in usable}
        name = str(self._file.content.get("name", self._file.path.stem))
        return Reference(statistics, self.settings, name, self.surveys().get("target"))

    def surveys(self) -> dict[str, Survey]:
        """What the frames were."""
        found = self._file.tables("survey")
        self._file.known(found, {"source", "target"}, "survey")
        return {side: self._file.checked(values, Survey, f"survey.{side}") for side, values in found.items()}

    def _conventions(self) -> Conventions:
        own = dict(self._file.tables("conventions"))
        profile = own.pop("profile", "torchstain")
        if profile not in PROFILES:
            known = ", ".join(PROFILES)
            raise self._file.error("conventions", "profile", f"unknown profile {profile!r}; known are {known}")
        return self._file.checked(msgspec.to_builtins(conventions(profile)) | own, Conventions, "conventions")

    def _statistics(self, side: str, method: str) -> Statistics:
        tables = self._file.tables(side)
        if method not in tables:
            raise self._file.error(side, method, f"there is no table [{side}.{method}]")
        return self._file.checked(tables[method], TABLE[method].load().kind, f"{side}.{method}")
