"""Frames that do not look like what the model knows."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from stainstream.color.survey import Survey
from stainstream.frame import RGB8, Frame

__all__ = ["Drift"]

_log = logging.getLogger(__name__)

_WARN_EVERY_S = 10.0


class Drift:
    """Compares each frame with what the model was trained or calibrated on; a `Watcher`.

    ``meta`` gets ``drift``: ``distance`` and ``limit`` in units of L*a*b* (`Survey.drift`, `Survey.reach`), and
    ``out_of_range``; nothing for frames without tissue. Those out of range are counted, and a warning is logged. The
    frame itself is never altered.

    Parameters
    ----------
    every_s
        Live frames that follow faster than this are taken to be like the one before: a look costs 0.02 ms.
    """

    def __init__(self, every_s: float = 0.0) -> None:
        self._every_ns = int(every_s * 1e9)
        self._knows: tuple[str, Survey] | None = None
        self._out = 0
        self._seen_ns: int | None = None
        self._last: dict[str, Any] = {}
        self._warned_s = float("-inf")

    def know(self, name: str, survey: Survey | None) -> None:
        """Compare with this model's survey from now on; None: with nothing. From any thread."""
        self._knows = None if survey is None else (name, survey)
        self._seen_ns, self._warned_s = None, float("-inf")

    @property
    def counts(self) -> Mapping[str, int]:
        return {"out of range": self._out} if self._out else {}

    def see(self, rgb: RGB8, frame: Frame) -> Mapping[str, Any]:
        if (knows := self._knows) is None:
            return {}
        if self._seen_ns is None or not 0 <= frame.captured_ns - self._seen_ns < self._every_ns:
            self._seen_ns = frame.captured_ns
            self._last = self._look(rgb, *knows)
        if self._last and self._last["drift"]["out_of_range"]:
            self._out += 1
        return self._last

    def _look(self, rgb: RGB8, name: str, survey: Survey) -> dict[str, Any]:
        if (distance := survey.drift(rgb)) is None:
            return {}
        strange = distance > survey.reach
        if strange and time.monotonic() - self._warned_s > _WARN_EVERY_S:
            self._warned_s = time.monotonic()
            _log.warning(
                "out of range: the colors are %.1f (L*a*b*) away from what %s was made for, whose frames are within "
                "%.1f; calibrate to this source, or run with --normalizer macenko --adapt 2s",
                distance, name, survey.reach,
            )  # fmt: skip
        return {"drift": {"distance": round(distance, 2), "limit": round(survey.reach, 2), "out_of_range": strange}}
