"""What a configuration file says: one stream, or several by name.

::

    log = "json"                 # what stands above is for all of them
    [streams.left]
    source = "camera0"
    sinks = ["zmq+tcp://*:5560"]
    [streams.right]
    source = "camera1"
    sinks = ["zmq+tcp://*:5561"]
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from .config import redacted, settings
from .errors import UsageError
from .live import StreamSettings
from .toml import Document

__all__ = ["RunSettings", "read_streams"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_OWN = ("source", "sinks", "record", "report")  # what no two streams can share
_SHARED = ("null", "memory")


class RunSettings(StreamSettings, frozen=True):
    """All that `stainstream run` can be told."""

    report: str = ""
    """File for the final counters, as JSON."""
    log: Literal["text", "json"] = "text"
    """How lines are logged: for people, or an object of JSON each."""
    stall_timeout: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """Seconds without a frame after which the watchdog is told no more that the stream is alive; 0 for never."""


def read_streams(path: Path, given: Mapping[str, Any], only: str = "") -> dict[str, RunSettings]:
    """Read a configuration file; a single stream without a name has the name ``""``.

    Parameters
    ----------
    given
        What goes before the file: options of the command line.
    only
        The one stream that they are for, of several.

    Raises
    ------
    UsageError
        Naming the file, the line and the key at fault.
    """
    document = Document(path)
    shared = {key: value for key, value in document.content.items() if key != "streams"}
    _check(document, shared, "")
    if "streams" not in document.content:
        return {"": settings({**shared, **given}, RunSettings, str(path))}
    named = document.tables("streams")
    if not named:
        raise document.error("", "streams", "it names no stream; add one: [streams.NAME]")
    if (own := [key for key in _OWN if key in given]) and len(named) > 1 and not only:
        asked = f"cannot give --{own[0].removesuffix('s')} for several streams"
        raise UsageError(asked, f"{path} has {', '.join(named)}", "add: --stream NAME")
    found = {}
    for name, values in named.items():
        if not _NAME.fullmatch(name):
            raise document.error("streams", name, "a stream's name consists of letters, digits, - and _")
        _check(document, values, f"streams.{name}")
        found[name] = settings({**shared, **values, **(given if only in ("", name) else {})}, RunSettings, str(path))
    _check_apart(document, found)
    return found


def _check(document: Document, values: Any, table: str) -> None:
    """Check the keys and values of one table; each has a default, so that none is missing."""
    if not isinstance(values, dict):
        *outer, name = table.split(".")
        raise document.error(".".join(outer), name, "it is no table")
    document.known(values, RunSettings.__struct_fields__, table)
    document.checked(values, RunSettings, table)


def _check_apart(document: Document, streams: Mapping[str, RunSettings]) -> None:
    """Check that no two streams take or fill the same place."""
    taken: dict[str, str] = {}
    for name, stream in streams.items():
        own = {stream.source} if not stream.source.startswith("demo") and not stream.source.startswith("zmq") else set()
        places = own | {*stream.sinks, *stream.record, stream.report} - {""}
        for place in sorted(places):
            if place.partition("?")[0] in _SHARED:
                continue
            if (other := taken.setdefault(place, name)) != name:
                reason = f"{other} uses {redacted(place)!r}, too; give each stream its own {', '.join(_OWN)}"
                raise document.error("streams", name, reason)
