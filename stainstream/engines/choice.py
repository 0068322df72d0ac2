"""Which engine runs a table or a network here."""

from __future__ import annotations

import logging
from functools import partial
from typing import NamedTuple

from stainstream.config import Address, Settings, settings
from stainstream.errors import EngineError, StainstreamError

from . import TABLE, Artifact, Engine
from .fallback import Fallback

__all__ = ["Choice", "choose"]

_log = logging.getLogger(__name__)

_BROKEN = (ImportError, RuntimeError, OSError, MemoryError)  # numba, onnxruntime, cuda: broken installations


class Choice(NamedTuple):
    """An engine, open, and how it came to be chosen."""

    engine: Engine
    name: str
    reasons: tuple[str, ...] = ()
    """Why others were not."""


def choose(artifact: Artifact, name: str, threads: int | None) -> Choice:
    """The engine of this name, or the first that opens.

    Raises
    ------
    UsageError
        If an option is wrong.
    EngineError, MissingExtra
        If the engine cannot run the artifact here; with ``"auto"``, if none can.
    """
    address = Address.parse(name)
    if address.target != "auto":
        row = TABLE[address.target]
        kind = row.load()
        engine = kind(artifact, threads, settings(address.options, kind.Options, f"engine {name!r}"))
        try:
            engine.open()
        except _BROKEN as error:
            raise EngineError(f"cannot use engine {name!r}", str(error)) from error
        return Choice(engine, row.name)
    settings(address.options, Settings, f"engine {name!r}")
    reasons: list[str] = []
    for row in TABLE:
        if row.lacking is not None:
            _log.debug("not %s: %s", row.name, row.lacking)
            continue
        try:
            engine = row.load()(artifact, threads)
            if row.hardware:
                engine = Fallback(engine, partial(_spare, artifact, threads))
            engine.open()
        except StainstreamError as error:
            reasons.append(str(error))
        except _BROKEN as error:
            reasons.append(f"{row.name}: {error}")
        else:
            return Choice(engine, row.name, tuple(reasons))
    raise EngineError(f"no engine can run {artifact.name!r}", "; ".join(reasons))


def _spare(artifact: Artifact, threads: int | None) -> Engine:
    """What takes over from a GPU's engine that failed: the first that runs on the processor."""
    reasons: list[str] = []
    for row in TABLE:
        if not row.hardware:
            try:
                engine = row.load()(artifact, threads)
                engine.open()
            except (StainstreamError, *_BROKEN) as error:
                reasons.append(str(error))
            else:
                return engine
    raise EngineError(f"no engine on the processor can run {artifact.name!r}", "; ".join(reasons))
