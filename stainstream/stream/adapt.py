"""A classic method whose statistics follow the stream."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from stainstream.color.lut import Lut, bake, quantize
from stainstream.color.transition import bake_coarsely, step
from stainstream.errors import FrameError, StainstreamError
from stainstream.frame import RGB8, Frame
from stainstream.normalizers.estimate import Estimate
from stainstream.normalizers.fitted import Fitted
from stainstream.resource import Resource

__all__ = ["Adapter", "Install"]

_log = logging.getLogger(__name__)

_PIXELS = 8192  # of a frame that are looked at
_STEP_S = 0.25  # between two tables
_LOOKS = 16  # at frames within one time constant
_FASTEST_S, _SLOWEST_S = 0.05, 1.0  # between two looks
_ENOUGH = 25  # frames with tissue, after which statistics that shall not follow stand
_NOTICEABLE = 0.5  # levels, as a mean over colors, by which the map must have moved to be baked anew
_PROBES = 2000
_NICE = 10  # Linux: so much does baking give way to frames

Install = Callable[[Lut, bool], None]
"""Takes a table into use, between two frames; the flag says whether it is the exact one of the last statistics."""


@dataclass
class _Goal:
    fitted: Fitted[Any]
    table: Lut
    exact: bool = False


class Adapter(Resource):
    """Learns from frames as they pass and replaces the table they are normalized with, in the background; a `Watcher`.

    A frame's pixels are sampled a few times within one time constant. When the map that follows from the statistics has
    moved noticeably, it is baked coarsely and becomes the goal, then exactly (a second or two of one core at most).
    The first goal is taken into use at once; from then on the table in use moves toward the goal by small steps, every
    quarter of a second, so that no color changes faster than `rate`. While frames have too little tissue, statistics
    are held. Frames get ``adapt`` into their metadata: ``waiting`` (nothing seen yet: frames pass unchanged),
    ``following``, ``held`` or ``frozen``; those held are counted.

    Parameters
    ----------
    start
        The method with its target, under its conventions; its source's statistics are used until the stream tells
        better, if `started`.
    started
        Whether the table of `start` is in use.
    shown
        The table that is in use.
    seconds
        The time constant; 0 freezes the statistics after 25 frames with tissue.
    rate
        The most, in levels a second, by which any color may change.
    install
        See `Install`; called on the adapter's own thread.
    """

    def __init__(
        self, start: Fitted[Any], shown: Lut, seconds: float, install: Install, *, started: bool, rate: float = 8.0
    ) -> None:
        super().__init__()
        self._seconds, self._install = seconds, install
        self._levels = max(1, int(rate * _STEP_S))
        self._pause = max(_STEP_S, self._levels / rate)
        self._shown = shown
        self._base, self._goal = start, _Goal(start, shown, exact=True) if started else None
        self._estimate = Estimate(type(start), start.conventions, seconds)
        self._every_ns = int(min(max(seconds / _LOOKS, _FASTEST_S), _SLOWEST_S) * 1e9)
        self._sample: tuple[RGB8, int] | None = None
        self._seen_ns: int | None = None
        self._state = "following" if started else "waiting"
        self._held = self._failed = 0
        self._stopping, self._news = threading.Event(), threading.Event()
        self._baker = ThreadPoolExecutor(1, "bake", initializer=_give_way)
        self._exact: Future[Lut] | None = None
        self._thread = threading.Thread(target=self._run, name="adapt", daemon=True)

    @property
    def counts(self) -> Mapping[str, int]:
        counts = {"statistics held, too little tissue": self._held, "statistics unusable": self._failed}
        return {what: count for what, count in counts.items() if count}

    @property
    def settled(self) -> bool:
        """Whether the table in use is the exact one of the statistics that were last found to have moved."""
        goal = self._goal
        return goal is not None and goal.exact and self._shown is goal.table

    def see(self, rgb: RGB8, frame: Frame) -> Mapping[str, Any]:
        if self._stopping.is_set():
            return {}
        at = frame.captured_ns
        if self._state != "frozen" and (self._seen_ns is None or not 0 <= at - self._seen_ns < self._every_ns):
            self._seen_ns = at
            height, width = rgb.shape[:2]
            stride = max(1, int(np.sqrt(height * width / _PIXELS)))
            self._sample = rgb[stride // 2 :: stride, stride // 2 :: stride].reshape(-1, 3).copy(), at
            self._news.set()
        self._held += self._state == "held"
        return {"adapt": self._state}

    def _open(self) -> None:
        self._thread.start()

    def _close(self) -> None:
        self._stopping.set()
        self._news.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()
        self._baker.shutdown(cancel_futures=True)

    def _run(self) -> None:
        _give_way()
        moved_s = time.monotonic()
        while not self._stopping.is_set():
            self._news.wait(_STEP_S)
            self._news.clear()
            try:
                self._learn()
                self._take_exact()
                if time.monotonic() - moved_s >= self._pause and self._move():
                    moved_s = time.monotonic()
            except _Stopped:
                return
            except StainstreamError as error:
                self._failed += 1
                _log.warning("the table stays as it is: %s", error)

    def _learn(self) -> None:
        """Take a sample in; if it moved the map noticeably, set a new goal."""
        sample, self._sample = self._sample, None
        if sample is None or self._state == "frozen":
            return
        if not self._estimate.add(*sample):
            self._state = "held" if self._goal else "waiting"
            return
        try:
            fitted = type(self._base)(
                self._estimate.statistics(), self._base.target, self._base.conventions, self._base.name
            )
        except FrameError as error:  # for example one stain only
            self._failed += 1
            _log.debug("statistics are held: %s", error)
            self._state = "held" if self._goal else "waiting"
            return
        state = "frozen" if not self._seconds and self._estimate.frames >= _ENOUGH else "following"
        if self._goal is None or state == "frozen" or self._moved(self._goal.fitted, fitted):
            self._aim(fitted)
        self._state = state  # once there is a goal that it speaks of

    def _aim(self, fitted: Fitted[Any]) -> None:
        first = self._goal is None
        table = bake_coarsely(fitted, fitted.name, fitted.rounding)
        self._goal = goal = _Goal(fitted, table)
        if self._exact is not None:
            self._exact.cancel()
        self._exact = self._baker.submit(self._bake, goal)
        if first:
            self._use(table)

    def _bake(self, goal: _Goal) -> Lut:
        def current() -> None:
            if self._stopping.is_set() or goal is not self._goal:
                raise _Stopped

        return bake(goal.fitted, goal.fitted.name, goal.fitted.rounding, threads=1, between=current)

    def _take_exact(self) -> None:
        if self._goal is None or self._exact is None or not self._exact.done():
            return
        exact, self._exact = self._exact, None
        if not exact.cancelled() and not isinstance(exact.exception(), _Stopped):
            self._goal.table, self._goal.exact = exact.result(), True

    def _move(self) -> bool:
        """Bring the table in use nearer to the goal; returns whether it was not there yet."""
        if self._goal is None or self._shown is self._goal.table:
            return False
        self._use(step(self._shown, self._goal.table, self._levels))
        return True

    def _use(self, table: Lut) -> None:
        self._install(table, self._goal is not None and self._goal.exact and table is self._goal.table)
        self._shown = table

    def _moved(self, before: Fitted[Any], after: Fitted[Any]) -> bool:
        colors = self._estimate.sample(_PROBES) / 255.0
        one, other = (quantize(each(colors)).astype(np.int16) for each in (before, after))
        return float(np.abs(one - other).mean()) > _NOTICEABLE


class _Stopped(Exception):
    """Nobody waits for this table any more."""


def _give_way() -> None:
    """Let this thread, and those that it starts, yield to the threads of the stream."""
    if sys.platform == "linux":  # elsewhere it would be the whole process
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
