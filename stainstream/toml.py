"""TOML files that people read and edit: a mistake is named with its line and key, a file is written whole or not."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from stainstream.errors import UsageError
from stainstream.wholefile import write_whole

__all__ = ["Document", "lines", "table", "write"]

S = TypeVar("S", bound=msgspec.Struct)

_SHORT = 3  # rows of a matrix that still stand on one line


class Document:
    """A TOML file, checked table by table, so that errors can point into it.

    Raises
    ------
    UsageError
        If it cannot be read, or is not TOML; every method raises it for what is wrong inside.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.text = path.read_text(encoding="utf-8")
            self.content = msgspec.toml.decode(self.text, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read {path}", f"it is not TOML: {error}") from error
        except OSError as error:
            raise UsageError(f"cannot read {path}", error.strerror or str(error)) from error

    def tables(self, name: str) -> dict[str, Any]:
        """The table `name`; empty if there is none."""
        tables = self.content.get(name, {})
        if not isinstance(tables, dict):
            raise self.error("", name, "it is no table")
        return tables

    def known(self, values: Mapping[str, Any], known: Collection[str], table: str = "") -> None:
        """Refuse keys of `table` that are not among those `known`."""
        for key in values:
            if key not in known:
                raise self.error(table, key, f"unknown; known are {', '.join(sorted(known))}")

    def checked(self, values: Any, kind: type[S], table: str = "") -> S:
        """The values of `table` as `kind`."""
        try:
            return msgspec.convert(values, kind)
        except msgspec.ValidationError as error:
            reason, _, place = str(error).partition(" - at `$")
            # The value's path; or an unknown or missing field of what is there; or what our own checks begin with.
            inside = [*re.findall(r"\.(\w+)", place), *re.findall(r"field `(\w+)`", reason)] or [reason.split()[0]]
            *parents, key = [each for each in (table, *inside) if each]
            raise self.error(".".join(parents), key, reason) from error

    def error(self, table: str, key: str, reason: str) -> UsageError:
        """What is wrong with a key of a table, for people."""
        title = f"[{table}] " if table else ""
        return UsageError(f"cannot use {self.path}, line {_line_of(self.text, table, key)}", f"{title}{key}: {reason}")


def _line_of(text: str, table: str, key: str) -> int:
    """The line of a key or of the table of this name, or of the table above it if it is not there."""
    current, found = "", 1
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[([^\[\]]+)\]\s*(#.*)?$", line):
            current = header[1].strip()
            if f"{current}.".startswith(f"{table}.{key}.".lstrip(".")):
                return number
            if found == 1 and f"{current}.".startswith(f"{table}."):
                found = number
        elif current == table and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", line):
            return number
    return found


def table(title: str, values: Mapping[str, Any]) -> str:
    """TOML of a table of plain values."""
    return f"[{title}]\n{lines(values)}"


def lines(values: Mapping[str, Any]) -> str:
    """TOML of plain values, one a line; rows of a matrix, too."""
    return "".join(f"{key} = {_value(value)}\n" for key, value in values.items())


def write(path: Path, text: str) -> None:
    """Write a file as a whole: if that fails, what stood there still does.

    Raises
    ------
    UsageError
        If it cannot be written, for example since the disk is full.
    """
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise UsageError(f"cannot write {path}", error.strerror or str(error)) from error


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        inside = [_value(each) for each in value]
        if len(value) > _SHORT and isinstance(value[0], list | tuple):
            return "[\n" + "".join(f"    {each},\n" for each in inside) + "]"
        return f"[{', '.join(inside)}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)
