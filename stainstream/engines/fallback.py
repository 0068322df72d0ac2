"""An engine with a spare one behind it: when a GPU fails, the stream goes on."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np

from stainstream.errors import EngineError
from stainstream.frame import RGB8

from .base import Artifact, Engine

__all__ = ["Fallback"]

_log = logging.getLogger(__name__)


class Fallback(Engine):
    """Runs on `first` until that fails; then, and from then on, on what `spare` opens.

    The frame that failed is normalized again, so none is lost.

    Parameters
    ----------
    first
        Opened and closed by this.
    spare
        Makes the other engine, when it is needed; for the same artifact.
    """

    def __init__(self, first: Engine, spare: Callable[[], Engine]) -> None:
        super().__init__(first.artifact, first.threads, first.options)
        self._first, self._make = first, spare
        self._spare: Engine | None = None
        self._failing = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._reason = ""

    @classmethod
    def incompatible(cls, artifact: Artifact) -> str | None:  # noqa: ARG003 - what the first engine runs
        return None

    @property
    def current(self) -> Engine:
        """The one that runs now."""
        return self._spare or self._first

    @property
    def title(self) -> str:
        return self.current.title

    @property
    def detail(self) -> str:
        return f"{self.title}: {self.current.detail}, since {self._reason}" if self._spare else self._first.detail

    @property
    def counts(self) -> Mapping[str, int]:
        return self._counts

    @property
    def depth(self) -> int:
        return self.current.depth

    @property
    def pins(self) -> bool:
        return self.current.pins

    def buffer(self, height: int, width: int) -> RGB8:
        try:
            return self.current.buffer(height, width)
        except EngineError as error:
            return self._fail(error).buffer(height, width)

    def _open(self) -> None:
        self.current.open()

    def _close(self) -> None:
        self._first.close()
        if self._spare is not None:
            self._spare.close()

    def __call__(self, rgb: RGB8, out: RGB8 | None = None) -> RGB8:
        if self._spare is not None:
            return self._spare(rgb, out)
        self._check_open()
        kept = _kept(rgb, out)
        try:
            return self._first(rgb, out)
        except EngineError as error:
            return self._again(error)(kept, out)

    def submit(self, rgb: RGB8, out: RGB8) -> Callable[[], RGB8]:
        if self._spare is not None:
            return self._spare.submit(rgb, out)
        self._check_open()
        kept = _kept(rgb, out)
        try:
            finish = self._first.submit(rgb, out)
        except EngineError as error:
            return self._again(error).submit(kept, out)

        def finished() -> RGB8:
            try:
                return finish()
            except EngineError as error:
                return self._again(error)(kept, out)

        return finished

    def _again(self, error: EngineError) -> Engine:
        """The spare engine, for a frame that the first one failed on."""
        spare = self._fail(error)
        with self._failing:
            self._counts["normalized again after the GPU failed"] += 1
        return spare

    def _fail(self, error: EngineError) -> Engine:
        """Go over to the spare engine."""
        self._check_open()  # closed meanwhile: that is why it failed
        with self._failing:
            if self._spare is None:
                spare = self._make()
                spare.open()
                self._reason, self._spare = str(error), spare
                _log.warning("%s; from here on %s normalizes, this frame included", error, spare.title)
                self._first.close()
            return self._spare

    def _onboard(self, image: object, out: object, stream: object) -> None:
        self.current._onboard(image, out, stream)

    def _run(self, rgb: RGB8, out: RGB8) -> None:
        self.current._run(rgb, out)


def _kept(rgb: RGB8, out: RGB8 | None) -> RGB8:
    """The image for a second attempt: itself, unless the first one may overwrite it."""
    ours = isinstance(rgb, np.ndarray) and isinstance(out, np.ndarray) and np.may_share_memory(rgb, out)
    return rgb.copy() if ours else rgb
