"""What every source has in common."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from stainstream.config import Settings
from stainstream.errors import SourceError
from stainstream.frame import Frame
from stainstream.receipt import Note
from stainstream.resource import Resource

_WAIT_S = 0.1

__all__ = ["Feed", "Source"]


class Source(Resource, ABC):
    """Where frames come from; iterate over it inside a ``with`` block.

    Iteration ends when the source is exhausted or `stop` was called; a blocking wait inside it must notice `stop`
    within 0.2 s. It raises `SourceError` when the device or file is gone for good.

    Parameters
    ----------
    target
        The address without its options.
    options
        The source's frozen settings, of type `Options`.
    """

    Options: type[Settings] = Settings

    def __init__(self, target: str, options: Settings) -> None:
        super().__init__()
        self.target, self.options = target, options
        self.rejected: Counter[str] = Counter()
        """Messages or files that were not frames, by cause; only the iterating thread writes to it."""
        self.lost = 0
        """Frames that the feed's own numbering says were lost before they reached us."""
        self.stopping = threading.Event()
        self.relay: Callable[[Note], None] = lambda note: note.receipt.accept()
        """Where what is no frame goes, of a feed that keeps its tiles: set by the pipeline to all its sinks."""

    @property
    def waits(self) -> bool:
        """Whether frames wait to be taken, as files do, rather than pass by, as a camera's do."""
        return False

    @property
    def counts(self) -> Mapping[str, int]:
        """What else happened, by name, for `Report.notes`; read from any thread."""
        return {}

    @property
    def keeps(self) -> bool:
        """Whether the feed keeps each frame until its `Frame.receipt` tells what became of it: none may be dropped."""
        return False

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Yield frames in order; each has its own `seq` and `captured_ns`."""

    def stop(self) -> None:
        """Make the iteration end soon; from any thread, also a signal handler's."""
        self.stopping.set()


class Feed(Source):
    """A source that frames come to by themselves, of which it says at once whether there is one."""

    @abstractmethod
    def take(self, timeout: float) -> Frame | None:
        """The next frame; None if there was none within `timeout` seconds, at most 0.1, or if it is stopped or closed.

        Raises
        ------
        SourceError
            If the feed is gone for good.
        """

    def __iter__(self) -> Iterator[Frame]:
        if not self.is_open:
            raise SourceError(f"cannot read {self.target}", "it is not open")
        while self.is_open and not self.stopping.is_set():
            frame = self.take(_WAIT_S)
            if frame is not None:
                yield frame
                del frame  # whoever lent its pixels has them back as soon as nobody else refers to them
