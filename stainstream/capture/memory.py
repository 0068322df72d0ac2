"""Memory that two processes share and that nobody has to clean up."""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
import uuid

__all__ = ["Shared"]


class Shared:
    """A piece of anonymous memory: it is gone when the last process that maps it is, however that one ended.

    `multiprocessing.shared_memory` names its segments, so they stay behind when both processes are killed, and takes
    them from ``/dev/shm``, of which a container has 64 MB: two 4K frames.

    Parameters
    ----------
    token
        What `token` said in the process that reserved it; reserve a new piece if empty.
    """

    def __init__(self, token: str = "") -> None:
        self.token = token or _reserved()
        """Names the memory to the other process, which must inherit `files`."""

    @property
    def files(self) -> tuple[int, ...]:
        """File descriptors that the other process needs."""
        return (int(self.token),) if self.token and sys.platform != "win32" else ()

    def map(self, size: int) -> mmap.mmap:
        """The memory, made `size` bytes long by whoever maps it first."""
        if sys.platform == "win32":
            return mmap.mmap(-1, size, tagname=self.token)
        fd = int(self.token)
        if os.fstat(fd).st_size < size:
            os.ftruncate(fd, size)
        return mmap.mmap(fd, size)

    def close(self) -> None:
        """Let go of it, except for what is mapped; safe twice."""
        for fd in self.files:
            os.close(fd)
        self.token = ""


def _reserved() -> str:
    if sys.platform == "win32":
        return f"stainstream-{uuid.uuid4()}"
    if sys.platform == "linux":
        return str(os.memfd_create("stainstream"))
    with tempfile.TemporaryFile() as file:  # it has no name, and vanishes as well
        return str(os.dup(file.fileno()))
