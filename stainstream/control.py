"""What a face of a running stream (a viewer, a supervisor) may see and ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from .report import Report

__all__ = ["Control", "Controllable", "Recordable", "Status"]


@dataclass(frozen=True, slots=True)
class Status:
    """A running stream at one moment."""

    source: str
    """Its address, without what must stay secret."""
    model: str
    """Name of the model or method that normalizes."""
    digest: str
    """SHA-256 of the model, or of its table, in hex."""
    engine: str
    """Where it runs, for people."""
    recording: bool
    """Whether a recording is being made."""
    report: Report
    """The counters."""


class Control(Protocol):
    """Steers a running stream; all of it from any thread."""

    def status(self) -> Status:
        """How the stream is doing."""

    def models(self) -> Sequence[str]:
        """Names that `switch` takes."""

    def switch(self, model: str) -> None:
        """Normalize with another model, from one frame to the next.

        Raises
        ------
        StainstreamError
            If it cannot be loaded; the stream then goes on as it was.
        """

    def record(self, *, on: bool) -> None:
        """Start or stop recording.

        Raises
        ------
        StainstreamError
            If the stream has nothing that records, or it cannot start.
        """


@runtime_checkable
class Controllable(Protocol):
    """A sink that steers the stream which it is part of."""

    def attach(self, control: Control) -> None:
        """Take the stream's control, before the sink is opened."""


@runtime_checkable
class Recordable(Protocol):
    """A sink that records when it is told to."""

    @property
    def recording(self) -> bool:
        """Whether it records now."""

    def record(self, *, on: bool) -> None:
        """Start or stop; asking for what is already so does nothing."""
