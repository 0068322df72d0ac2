"""Named plug-ins, imported only when asked for."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from stainstream.errors import MissingExtra, UsageError

__all__ = ["Plugin", "Table"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plugin(Generic[T]):
    """One row of a family's table; naming it imports nothing."""

    name: str
    """What users call it."""
    target: str
    """``"package.module:Class"``."""
    summary: str
    """One line for ``--help`` and for lists."""
    pattern: str = ""
    """Regular expression for the whole of an address (without its options) that this plug-in serves."""
    example: str = ""
    """An address to paste, for lists and for error messages."""
    needs: tuple[str, ...] = ()
    """Modules that the plug-in imports beyond the core's."""
    extra: str = ""
    """The pip extra that brings `needs`."""
    hardware: str = ""
    """``"package.module:function"`` that says quickly why the hardware it needs is not here, or gives None."""

    @property
    def missing(self) -> str | None:
        """The first module in `needs` that is not installed, or None."""
        return next((module for module in self.needs if not _installed(module)), None)

    @property
    def lacking(self) -> str | None:
        """Why the hardware that it needs is not here, or None."""
        return None if not self.hardware else cast("str | None", _attribute(self.hardware)())

    def load(self) -> type[T]:
        """Import the class.

        Raises
        ------
        MissingExtra
            If one of `needs` is not installed.
        """
        if (module := self.missing) is not None:
            raise MissingExtra(f"cannot use {self.name!r}", module, self.extra)
        loaded: type[T] = _attribute(self.target)
        return loaded


def _attribute(target: str) -> Any:
    path, _, name = target.partition(":")
    return getattr(importlib.import_module(path), name)


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # nor is the package that it would be part of
        return False


class Table(Generic[T]):
    """The plug-ins of one family, in order of preference."""

    def __init__(self, family: str, rows: Sequence[Plugin[T]]) -> None:
        self.family, self.rows = family, tuple(rows)

    def __iter__(self) -> Iterator[Plugin[T]]:
        return iter(self.rows)

    def __getitem__(self, name: str) -> Plugin[T]:
        for row in self.rows:
            if row.name == name:
                return row
        names = ", ".join(row.name for row in self.rows)
        raise UsageError(f"unknown {self.family} {name!r}", f"known are {names}")

    def serving(self, address: str) -> Plugin[T]:
        """The first plug-in whose pattern matches `address`.

        Raises
        ------
        UsageError
            If none does; the message shows an address of each kind.
        """
        for row in self.rows:
            if row.pattern and re.fullmatch(row.pattern, address, re.IGNORECASE | re.DOTALL):
                return row
        examples = ", ".join(row.example for row in self.rows if row.example)
        raise UsageError(
            f"unknown {self.family} {address!r}", f"it is not a file here, nor of a known form ({examples})"
        )
