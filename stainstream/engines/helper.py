"""A thread that does one thing after another for another thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeAlias

from stainstream.errors import EngineError

__all__ = ["Helper"]

Job: TypeAlias = Callable[[], None]

_SLICE_S = 0.5


class Helper:
    """Handing a job over costs some microseconds, a tenth of what a thread pool's futures do."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[tuple[Job, threading.Lock] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def begin(self, job: Job) -> Job:
        """Have a job done, which must not raise; what this gives returns when it is."""
        busy = threading.Lock()
        busy.acquire()
        self._jobs.put((job, busy))

        def finish() -> None:
            while not busy.acquire(timeout=_SLICE_S):
                if not self._thread.is_alive() and not busy.acquire(blocking=False):
                    raise EngineError("cannot finish a frame", "the engine was closed by another thread")

        return finish

    def close(self) -> None:
        """Finish what was begun, and end."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (task := self._jobs.get()) is not None:
            task[0]()
            task[1].release()
            del task  # its images may be used again
