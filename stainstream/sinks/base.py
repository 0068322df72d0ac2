"""What every sink has in common."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod

from stainstream.config import Settings
from stainstream.frame import Frame
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

    def __init__(self, target: str, options: Settings) -> None:
        super().__init__()
        self.target, self.options = target, options
        self.stopping = threading.Event()

    @abstractmethod
    def write(self, frame: Frame) -> None:
        """Take one frame, RGB8; may block, but must notice `stop` within 0.2 s.

        Raises
        ------
        SinkError
            If the frame was not taken: it is counted as dropped.
        """

    def stop(self) -> None:
        """Make a blocking `write` give up soon; from any thread."""
        self.stopping.set()
