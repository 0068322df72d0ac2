"""Who looks at frames before they are normalized."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from stainstream.frame import RGB8, Frame

__all__ = ["Watcher"]


class Watcher(Protocol):
    """Looks at every frame on its way to the engine, on the thread that normalizes: it must be quick.

    What it keeps, it copies: the pixels are overwritten as soon as it returns.
    """

    @property
    def counts(self) -> Mapping[str, int]:
        """What it has noticed so far, by name, for `Report.notes`; read from any thread."""

    def see(self, rgb: RGB8, frame: Frame) -> Mapping[str, Any]:
        """Look at a frame.

        Parameters
        ----------
        rgb
            Its pixels, uint8 (height, width, 3), before normalization; not to be altered.
        frame
            What came with them.

        Returns
        -------
        What is to be added to the frame's metadata.
        """
