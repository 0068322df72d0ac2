"""Calibrations and references on disk: readable TOML, without any image."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

from stainstream.config import Settings
from stainstream.errors import UsageError

from . import TABLE
from .conventions import PROFILES, Conventions, conventions, profile_of
from .fitted import Fitted, Reference, Statistics
from .survey import Survey

__all__ = ["find", "lines", "names", "read", "read_reference", "read_surveys", "save", "shelf"]

S = TypeVar("S", bound=Settings)
Tables = dict[str, dict[str, Any]]

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
        A ``.toml`` file; it is overwritten.
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
    blocks = [lines(head), _table("conventions", profile)]
    blocks += [_table(title, msgspec.to_builtins(each)) for title, each in tables.items()]
    for side, survey in surveys.items():
        plain = msgspec.to_builtins(survey)
        palette = plain.pop("palette")
        blocks += [_table(f"survey.{side}", plain), _table(f"survey.{side}.palette", palette)]
    try:
        path.write_text(_HEADER + "\n".join(blocks), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}", error.strerror or str(error)) from error


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
    """Checks one file, table by table, so that errors can point into it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.text = path.read_text(encoding="utf-8")
            self.content = msgspec.toml.decode(self.text, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read {path}", f"it is not TOML: {error}") from error
        except OSError as error:
            raise UsageError(f"cannot read {path}", error.strerror or str(error)) from error
        self._known(self.content, {*_KEYS, "conventions", "source", "target", "survey"}, "")
        self.settings = self._conventions()

    def normalizer(self) -> Fitted[Any]:
        """The calibration."""
        if "method" not in self.content:
            raise UsageError(
                f"cannot normalize with {self.path}",
                "it has no method: it is a reference, without a source",
                "fit a method to frames, with this as its target",
            )
        method = str(self.content["method"])
        if method not in [row.name for row in TABLE]:
            raise self._error("", "method", f"unknown method {method!r}; known are {', '.join(r.name for r in TABLE)}")
        sides = [self._statistics(side, method) for side in ("source", "target")]
        name = str(self.content.get("name", method))
        return TABLE[method].load()(source=sides[0], target=sides[1], conventions=self.settings, name=name)

    def reference(self) -> Reference:
        """The target, under every method that is installed."""
        methods = self._tables("target")
        self._known(methods, {row.name for row in TABLE}, "target")
        usable = [row.name for row in TABLE if row.name in methods and row.missing is None]
        statistics = {method: self._statistics("target", method) for method in usable}
        name = str(self.content.get("name", self.path.stem))
        return Reference(statistics, self.settings, name, self.surveys().get("target"))

    def surveys(self) -> dict[str, Survey]:
        """What the frames were."""
        found = self._tables("survey")
        self._known(found, {"source", "target"}, "survey")
        return {side: self._checked(values, Survey, f"survey.{side}") for side, values in found.items()}

    def _conventions(self) -> Conventions:
        own = dict(self._tables("conventions"))
        profile = own.pop("profile", "torchstain")
        if profile not in PROFILES:
            raise self._error("conventions", "profile", f"unknown profile {profile!r}; known are {', '.join(PROFILES)}")
        return self._checked(msgspec.to_builtins(conventions(profile)) | own, Conventions, "conventions")

    def _statistics(self, side: str, method: str) -> Statistics:
        tables = self._tables(side)
        if method not in tables:
            raise self._error(side, method, f"there is no table [{side}.{method}]")
        return self._checked(tables[method], TABLE[method].load().kind, f"{side}.{method}")

    def _tables(self, name: str) -> dict[str, Any]:
        tables = self.content.get(name, {})
        if not isinstance(tables, dict):
            raise self._error("", name, "it is no table")
        return tables

    def _known(self, values: Mapping[str, Any], known: set[str], table: str) -> None:
        for key in values:
            if key not in known:
                raise self._error(table, key, f"unknown; known are {', '.join(sorted(known))}")

    def _checked(self, values: Any, kind: type[S], table: str) -> S:
        try:
            return msgspec.convert(values, kind)
        except msgspec.ValidationError as error:
            reason, _, place = str(error).partition(" - at `$")
            # The value's path; or an unknown or missing field of what is there; or what our own checks begin with.
            *parents, key = [table, *re.findall(r"\.(\w+)", place), *re.findall(r"field `(\w+)`", reason)]
            if not parents:
                parents, key = [table], reason.split()[0]
            raise self._error(".".join(parents), key, reason) from error

    def _error(self, table: str, key: str, reason: str) -> UsageError:
        title = f"[{table}] " if table else ""
        return UsageError(f"cannot use {self.path}, line {_line_of(self.text, table, key)}", f"{title}{key}: {reason}")


def _line_of(text: str, table: str, key: str) -> int:
    """The line of a key or of the table of this name, or of the table above it if it is not there."""
    current, found = "", 1
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[([^\[\]]+)\]", line):
            current = header[1].strip()
            if f"{current}.".startswith(f"{table}.{key}.".lstrip(".")):
                return number
            if found == 1 and f"{current}.".startswith(f"{table}."):
                found = number
        elif current == table and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", line):
            return number
    return found


def _table(title: str, values: Mapping[str, Any]) -> str:
    return f"[{title}]\n{lines(values)}"


def lines(values: Mapping[str, Any]) -> str:
    """TOML of plain values, one a line."""
    return "".join(f"{key} = {_value(value)}\n" for key, value in values.items())


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(each) for each in value)}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)
