"""Every error that stainstream raises on purpose.

::

    StainstreamError
    ├── UsageError        a name, address or setting is wrong
    ├── MissingExtra      an optional dependency is not installed
    ├── ModelError        a model folder or file cannot be used
    │   └── NotPixelwise  the model looks at neighbors, so it is no table
    ├── SourceError       a source cannot be opened, or is gone
    ├── SinkError         a sink cannot be opened, or refuses a frame
    ├── EngineError       an engine cannot run here, or failed
    ├── FeedFull          a feed's tiles are not accepted as fast as they are sent
    ├── FrameError        a frame's pixels do not fit what its header says
    └── WireError         a message is not what its format says

Each message is one line: what was asked, why it failed and, where there is one, what to do about it.
"""

from __future__ import annotations

__all__ = [
    "EngineError",
    "FeedFull",
    "FrameError",
    "MissingExtra",
    "ModelError",
    "NotPixelwise",
    "SinkError",
    "SourceError",
    "StainstreamError",
    "UsageError",
    "WireError",
]


class StainstreamError(Exception):
    """Base of all errors raised on purpose.

    Parameters
    ----------
    asked
        What could not be done, for example ``"cannot open camera0"``.
    reason
        Why, for example ``"the device is busy"``.
    cure
        What to run or change; empty when nothing sensible can be said.
    """

    def __init__(self, asked: str, reason: str = "", cure: str = "") -> None:
        self.asked, self.reason, self.cure = asked, reason, cure
        message = f"{asked}: {reason}" if reason else asked
        super().__init__(" ".join((f"{message}; {cure}" if cure else message).split()))


class UsageError(StainstreamError):
    """A name, address or setting is wrong."""


class MissingExtra(StainstreamError):
    """An optional dependency is not installed."""

    def __init__(self, asked: str, module: str, extra: str) -> None:
        super().__init__(asked, f"the Python module {module!r} is missing", f"run: pip install 'stainstream[{extra}]'")


class ModelError(StainstreamError):
    """A model folder or file cannot be used."""


class NotPixelwise(ModelError):
    """The model looks at more than one pixel at a time, so no table of colors can stand for it."""


class SourceError(StainstreamError):
    """A source cannot be opened, or is gone."""


class SinkError(StainstreamError):
    """A sink cannot be opened, or refuses a frame."""


class EngineError(StainstreamError):
    """An engine cannot run here, or failed."""


class FeedFull(StainstreamError):
    """A feed's tiles are not accepted as fast as they are sent, or not at all."""


class FrameError(StainstreamError):
    """A frame's pixels do not fit what its header says; the frame is rejected, the stream goes on."""


class WireError(StainstreamError):
    """A message is not what its format says; the message is rejected, the stream goes on.

    Attributes
    ----------
    cause
        A short label under which the rejection is counted, for example ``"short payload"``.
    """

    def __init__(self, cause: str, reason: str) -> None:
        self.cause = cause
        super().__init__(cause, reason)
