"""What every wire format offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from stainstream.frame import Frame

__all__ = ["MAX_FRAME_BYTES", "UNNUMBERED", "Announcer", "Buffer", "Codec"]

Buffer: TypeAlias = bytes | bytearray | memoryview
"""One part of a message; a memoryview is one of bytes."""

MAX_FRAME_BYTES = 256 << 20
"""How many bytes an image may have, unless set otherwise."""
UNNUMBERED = -1
"""`Frame.seq` of a decoded frame whose message bears no number: the receiver counts."""


@runtime_checkable
class Codec(Protocol):
    """A wire format: frames to message parts and back. Pure: no sockets, no files.

    Parameters
    ----------
    max_frame_bytes
        `decode` refuses images of more bytes than this, before it allocates anything for them.
    """

    def __init__(self, *, max_frame_bytes: int = MAX_FRAME_BYTES) -> None: ...

    def encode(self, frame: Frame) -> list[Buffer]:
        """Turn a frame into the parts of a message; the last one is the image's own memory if it is C-contiguous.

        Raises
        ------
        WireError
            If the format cannot say this: a pixel format that it has no name for, metadata that are not JSON.
        """

    def decode(self, parts: Sequence[Buffer]) -> Frame | None:
        """Turn the parts of a message into a frame, captured now; its image is a view of the last part where possible.

        Returns
        -------
        None for a well-formed message that is no frame: start, end, status.

        Raises
        ------
        WireError
            If the message is malformed, in whatever way; nothing else is ever raised.
        """


@runtime_checkable
class Announcer(Protocol):
    """A wire format that has messages beside frames; each is empty where it has not that one."""

    def start(self, frame: Frame) -> list[Buffer]:
        """What comes before the first frame, which is given."""

    def status(self, counts: Mapping[str, Any]) -> list[Buffer]:
        """What is sent once a second.

        Parameters
        ----------
        counts
            ``frames`` that were to be sent = ``sent`` + the sum of ``dropped`` (by cause); ``frame``: the last number.
        """

    def end(self, counts: Mapping[str, Any]) -> list[Buffer]:
        """What comes after the last frame; see `status`."""
