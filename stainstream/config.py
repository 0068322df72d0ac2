"""Frozen settings: text in, checked structs out; unknown keys are errors."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from stainstream.errors import UsageError

__all__ = [
    "DEFAULT",
    "MAX_FRAME_BYTES",
    "PUBLISH",
    "Address",
    "Settings",
    "cache_folder",
    "clean",
    "read",
    "redacted",
    "settings",
]

DEFAULT = "default"
"""The name under which the default model is asked for."""
PUBLISH = "zmq+tcp://127.0.0.1:5560"
"""Where a stream's frames go unless told otherwise."""
MAX_FRAME_BYTES = 256 << 20
"""The largest frame that a feed may send, unless told otherwise."""

_OURS = re.compile(r"zmq\+|(?!\w[\w+.-]*://)", re.IGNORECASE)  # addresses whose options are all known
_SECRET = re.compile(r"([?&](?:token|password|secret|key)=)[^&\s]*", re.IGNORECASE)
_OPTIONS = re.compile(r"\?(?=[A-Za-z_]+=)(?P<options>[^?]*)$")


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every frozen group of settings; by itself, nothing to set."""


S = TypeVar("S", bound=Settings)


@dataclass(frozen=True, slots=True)
class Address:
    """Where frames come from or go to: ``target?key=value&key=value``.

    Examples
    --------
    >>> Address.parse("demo?size=512x512&rate=30")
    Address(target='demo', options={'size': '512x512', 'rate': '30'})
    >>> Address.parse("tiles/slide?.png").target  # a pattern, not options
    'tiles/slide?.png'
    """

    target: str
    options: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> Address:
        """Split `text` at the question mark that starts its options.

        Raises
        ------
        UsageError
            If an option has no value or stands twice.
        """
        match = _OPTIONS.search(text)
        if match is None:
            return cls(text, {})
        options: dict[str, str] = {}
        for pair in match["options"].split("&"):
            key, equals, value = pair.partition("=")
            if not equals or key in options:
                raise UsageError(f"cannot read {redacted(text)!r}", f"option {key!r} stands twice or has no value")
            options[key] = value
        return cls(text[: match.start()], options)

    def __str__(self) -> str:
        options = "&".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.target}?{options}" if options else self.target


def settings(values: Mapping[str, Any], kind: type[S], where: str) -> S:
    """Check `values` against `kind`; text is turned into the field's type.

    Raises
    ------
    UsageError
        Naming `where`, the key at fault and the keys that are known.
    """
    try:
        return msgspec.convert(dict(values), kind, strict=False)
    except msgspec.ValidationError as error:
        fields = msgspec.structs.fields(kind)
        known = ", ".join(field.encode_name for field in fields) or "none"
        raise UsageError(f"wrong settings in {where}", str(error), f"known keys: {known}") from error


def read(path: Path, kind: type[S]) -> S:
    """Read a TOML file of settings.

    Raises
    ------
    UsageError
        If the file is missing, is not TOML (line and column are named) or has wrong or unknown keys.
    """
    try:
        values = msgspec.toml.decode(path.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise UsageError(f"cannot read {path}", error.strerror or str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}", f"it is not TOML: {error}") from error
    return settings(values, kind, str(path))


def redacted(address: str) -> str:
    """`address` without what must stay secret: user name and password, tokens, and all options of cameras' URLs.

    Examples
    --------
    >>> redacted("rtsp://admin:secret@10.0.0.7/live?token=abc")
    'rtsp://***@10.0.0.7/live?***'
    >>> redacted("zmq+tcp://*:5560?topic=a")
    'zmq+tcp://*:5560?topic=a'
    """
    # Greedy, since a password may hold an @ itself.
    hidden = re.sub(r"(?<=://).*@", "***@", address, flags=re.DOTALL)
    if _OURS.match(hidden):
        return _SECRET.sub(r"\1***", hidden)
    return re.sub(r"(://[^?]*\?).+", r"\1***", hidden, flags=re.DOTALL)


def clean(message: str) -> str:
    """A message for people without the passwords and tokens of addresses in it; the last fence, not the first.

    Examples
    --------
    >>> clean("cannot open rtsp://me:pass@host/live?token=abc of the scope")
    'cannot open rtsp://***@host/live?token=*** of the scope'
    """
    return _SECRET.sub(r"\1***", re.sub(r"(?<=://)\S*@", "***@", message))


def cache_folder() -> Path:
    """Where derived files (tables, plans) are kept: ``$STAINSTREAM_CACHE``, or the platform's cache folder."""
    import platformdirs

    return Path(os.environ.get("STAINSTREAM_CACHE") or platformdirs.user_cache_dir("stainstream", appauthor=False))
