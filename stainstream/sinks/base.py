"""What every sink has in common."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

from stainstream.config import Settings
from stainstream.frame import RGB8, Frame
from stainstream.receipt import Note
from stainstream.resource import Resource

__all__ = ["Sink"]


class Sink(Resource, ABC):
    """Where frames go.

    The image that `write` is given returns to the pipeline's pool once nobody holds a reference to it. A sink may
    therefore keep the array (or a memoryview, as ZeroMQ does without copying) for as long as it needs, but never a
    bare address.

    Parameters
    ----------
    target
        The address without its options.
    options
        The sink's frozen settings, of type `Options`.
    """

    Options: type[Settings] = Settings
    backlog: ClassVar[int] = 0
    """How many frames may wait for it beyond the stream's capacity: some, where its own pace is uneven."""

    def __init__(self, target: str, options: Settings) -> None:
        super().__init__()
        self.target, self.options = target, options
        self.stopping = threading.Event()

    @property
    def wants_raw(self) -> bool:
        """Whether frames shall carry their pixels as they were before, too; asked for every frame."""
        return False

    @property
    def prompt(self) -> bool:
        """Whether it takes a frame in less time than handing the frame to another thread costs."""
        return False

    def lend(self, height: int, width: int) -> RGB8 | None:  # noqa: ARG002 - for those that override it
        """Memory to normalize a frame into that it then takes without a copy; None if it has none at the moment.

        Returns
        -------
        uint8 (height, width, 3), C-contiguous, of undefined contents. It is given back by giving a frame of it to
        `write` or `submit`, or when nobody refers to it any more.
        """
        return None

    @property
    def counts(self) -> Mapping[str, int]:
        """What it has done beyond taking frames, by name, for `Report.notes`; read from any thread."""
        return {}

    @abstractmethod
    def write(self, frame: Frame) -> None:
        """Take one frame, RGB8; may block, but must notice `stop` within 0.2 s.

        Raises
        ------
        SinkError
            If the frame was not taken: it is counted as dropped.
        """

    def submit(self, frame: Frame, done: Callable[[str], None]) -> None:
        """Take one frame as `write` does, and call `done` as soon as it is safe, perhaps later and on another thread.

        Parameters
        ----------
        done
            To be called once with ``""``, or with the reason why the frame could not be used after all; not at all if
            it was not taken, or nobody can tell.
        """
        self.write(frame)
        done("")

    def relay(self, note: Note) -> None:
        """Pass on what an acknowledged feed says between its tiles; from any thread, without waiting."""
        note.receipt.accept()

    def finish(self, *, ended: bool) -> None:
        """Wait until all frames that were taken are safe; must notice `stop` within 0.2 s. Called after the last one.

        Parameters
        ----------
        ended
            Whether the source came to its end, rather than being stopped.
        """

    def stop(self) -> None:
        """Make a blocking `write` or `finish` give up soon; from any thread."""
        self.stopping.set()
