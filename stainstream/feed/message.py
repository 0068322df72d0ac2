"""The envelopes of a feed's messages: one JSON object each, read with distrust. Fields: docs/wire.md."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeAlias

from stainstream.errors import WireError

__all__ = ["ENVELOPE_BYTES", "Envelope", "pack", "unpack"]

ENVELOPE_BYTES = 64 << 10
"""How many bytes an envelope may have."""
Envelope: TypeAlias = dict[str, Any]

_VERSION = 1
_NAME, _CAUSE, _RANGES, _SEQUENCES = 256, 256, 1024, 1 << 53  # the last: what JSON's readers can count exactly


def pack(op: str, **fields: Any) -> bytes:
    """Write an envelope."""
    return json.dumps({"ssa": _VERSION, "op": op, **fields}, separators=(",", ":")).encode()


def unpack(part: bytes | memoryview) -> Envelope:
    """Read an envelope.

    Raises
    ------
    WireError
        If it is none, or a field is missing or wrong.
    """
    if len(part) > ENVELOPE_BYTES:
        raise WireError("large envelope", f"it has {len(part)} bytes, {ENVELOPE_BYTES} are allowed")
    try:
        envelope = json.loads(bytes(part))
    except (ValueError, RecursionError) as error:
        raise WireError("envelope is not a JSON object", str(error)) from error
    if not isinstance(envelope, dict):
        raise WireError("envelope is not a JSON object", f"it is a {type(envelope).__name__}")
    if envelope.get("ssa") != _VERSION:
        raise WireError("unknown version", f"ssa is {envelope.get('ssa')!r:.40}, not {_VERSION}")
    fields = _FIELDS.get(op) if isinstance(op := envelope.get("op"), str) else None
    if fields is None:
        raise WireError("unknown operation", f"op is {op!r:.40}")
    for name, fits in fields.items():
        if not fits(envelope.get(name)):
            raise WireError("wrong envelope", f"{name} of {op} is {envelope.get(name)!r:.40}")
    return envelope


def _text(limit: int) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and 0 < len(value) <= limit


def _count(value: object) -> bool:
    return type(value) is int and 0 <= value < _SEQUENCES


def _counts(value: object) -> bool:
    return isinstance(value, dict) and len(value) <= _RANGES and all(map(_count, value.values()))


def _settled(value: object) -> bool:
    """``[[series, first, last], [series, first, last, cause], ...]``."""
    return isinstance(value, list) and len(value) <= _RANGES and all(map(_range, value))


def _range(value: object) -> bool:
    if not isinstance(value, list) or len(value) not in (3, 4):
        return False
    series, first, last, *cause = value
    if not (_text(_NAME)(series) and _count(first) and _count(last) and 0 <= last - first < 1 << 16):
        return False
    return not cause or _text(_CAUSE)(cause[0])


_PLACE = {"series": _text(_NAME), "seq": _count, "base": _count}
_WHO = {"name": _text(_NAME), "session": _text(_NAME)}
_FIELDS: dict[str, dict[str, Callable[[object], bool]]] = {
    "ping": _WHO,
    "tile": _PLACE,
    "void": _PLACE | {"cause": _text(_CAUSE)},
    "end": _PLACE | {"tiles": _count, "rejected": _counts},
    "frame": {"skipped": _count},
    "refused": {"reason": _text(_CAUSE)},
    "hello": _WHO | {"role": ("worker", "subscriber", "live").__contains__},
    "ready": {},
    "bye": {},
    "board": {"session": _text(_NAME)} | dict.fromkeys(("pid", "file", "seat"), _count),
    "ack": {"tiles": _settled},
}
