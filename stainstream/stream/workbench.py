"""Frames in an engine, which may be swapped for another between two of them."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stainstream.color.convert import to_rgb8
from stainstream.engines import Engine
from stainstream.errors import EngineError, FrameError
from stainstream.frame import RGB8, Frame, PixelFormat
from stainstream.receipt import Receipt

from .complaints import Complaints
from .ledger import Ledger
from .outlets import Outlets
from .pool import Pool
from .watch import Watcher

__all__ = ["Workbench"]


class Workbench:
    """Makes RGB8 of frames, lets watchers see them, normalizes them and gives them to the outlets, in order.

    One thread puts frames in and takes them out; `swap` may be called from any.

    Parameters
    ----------
    engine
        Open, and left open; None passes frames on as RGB8 without changing a color.
    meta
        Added to each frame's metadata.
    buffers
        How many buffers are kept for frames to come.
    """

    def __init__(
        self,
        engine: Engine | None,
        outlets: Outlets,
        ledger: Ledger,
        complaints: Complaints,
        *,
        meta: Mapping[str, Any],
        watchers: Sequence[Watcher],
        buffers: int,
    ) -> None:
        self.engine = engine
        self._outlets, self._ledger, self._complaints = outlets, ledger, complaints
        self._meta, self._watchers = dict(meta), tuple(watchers)
        self._pool = Pool(buffers, engine.buffer if engine is not None else None)
        self._in_use, self._next_user = threading.Lock(), threading.Lock()
        self._former: Counter[str] = Counter()  # counts of engines that were swapped for others
        # What is under way: whom to tell, whether a sink lent the memory it goes to, and how to have it.
        self._begun: deque[tuple[Receipt | None, bool, Callable[[], Frame]]] = deque()

    @property
    def empty(self) -> bool:
        """Whether no frame is in the engine."""
        return not self._begun

    @property
    def full(self) -> bool:
        """Whether a frame must arrive before the next can begin, or somebody waits for the engine."""
        depth = 1 if self.engine is None else self.engine.depth
        return not self.empty and (len(self._begun) >= depth or self._next_user.locked())

    @property
    def counts(self) -> Counter[str]:
        """What engines, those of before as well, and watchers counted."""
        counts = self._former.copy()
        if self.engine is not None:
            counts.update(self.engine.counts)
        for watcher in self._watchers:
            counts.update(watcher.counts)
        return counts

    def swap(self, engine: Engine, meta: Mapping[str, Any]) -> None:
        """See `Pipeline.swap`."""
        with self._next_user, self._in_use:
            if self.engine is not None:
                self._former.update(self.engine.counts)
            self.engine, self._meta = engine, dict(meta)
            self._pool = Pool(self._pool.limit, engine.buffer)

    def begin(self, frame: Frame) -> None:
        """Begin to normalize a frame; the engine is in use as long as one is begun."""
        if self.empty:
            with self._next_user:  # whoever waits to swap the engine goes first
                self._in_use.acquire()
        try:
            self._begun.append((frame.receipt, *self._start(frame)))
        except (FrameError, EngineError) as error:
            self._refuse(error, frame.receipt)
        finally:
            if self.empty:
                self._in_use.release()

    def arrive(self) -> None:
        """Let the oldest frame arrive, and be delivered."""
        receipt, _, finish = self._begun.popleft()
        try:
            self._outlets.give(finish())
        except (FrameError, EngineError) as error:
            self._refuse(error, receipt)
        finally:
            if self.empty:
                self._in_use.release()

    def clear(self) -> None:
        """Let all frames arrive."""
        while not self.empty:
            self.arrive()

    def _refuse(self, error: FrameError | EngineError, receipt: Receipt | None) -> None:
        cause = "engine failed" if isinstance(error, EngineError) else "unusable frame"
        self._ledger.reject(cause)
        if receipt is not None:
            receipt.refuse(cause)
        self._complaints.complain("rejected frame", error)

    def _start(self, frame: Frame) -> tuple[bool, Callable[[], Frame]]:
        """Begin to normalize a frame: whether a sink lent memory for it, and what returns it when it has arrived."""
        height, width = frame.height, frame.width
        flags, plain = frame.image.flags, frame.format is PixelFormat.RGB8 and frame.image.flags.c_contiguous
        rgb = to_rgb8(frame.image, frame.format, None if plain else self._pool.take(height, width))
        seen: dict[str, Any] = {}
        for watcher in self._watchers:
            seen |= watcher.see(rgb, frame)
        raw = rgb if self._outlets.wants_raw else None
        engine, meta = self.engine, self._meta

        def made(image: RGB8, about: Mapping[str, Any]) -> Frame:
            meta = {**frame.meta, **seen, **about}
            return Frame(image, PixelFormat.RGB8, frame.seq, frame.captured_ns, meta, raw, frame.receipt)

        if engine is None:
            return False, lambda: made(rgb, meta)
        # A writeable image is ours to overwrite.
        ours = raw is None and (not plain or flags.carray) and not engine.pins
        lent = self._lent(engine, height, width)
        target = lent if lent is not None else rgb if ours else self._pool.take(height, width)
        finish = engine.submit(rgb, target)
        return lent is not None, lambda: made(finish(), _named(meta, engine))

    def _lent(self, engine: Engine, height: int, width: int) -> RGB8 | None:
        """Memory of the only sink's own, if it has some.

        None while a frame is begun that has none: it will need some when it arrives, and might wait for this one's.
        """
        if engine.pins or not all(lent for _, lent, _ in self._begun):
            return None
        return self._outlets.lend(height, width)


def _named(meta: Mapping[str, Any], engine: Engine) -> Mapping[str, Any]:
    """`meta`, with the name of what runs if an engine gave way to its spare one."""
    model = meta.get("model")
    if not engine.counts or model is None:
        return meta
    return {**meta, "model": {**model, "engine": engine.title}}
