"""Where a classic method that follows a stream begins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from . import api
from .calibration import Taken, target
from .errors import UsageError
from .normalizers import TABLE
from .normalizers.conventions import conventions
from .normalizers.fitted import Fitted

__all__ = ["start"]


def start(normalizer: str, goal: str, profile: str = "", least_tissue: float | None = None) -> tuple[Fitted[Any], bool]:
    """The method with its target, and whether its source's statistics are known, from a calibration.

    Parameters
    ----------
    normalizer
        A method's name, or a calibration's name or file.
    goal
        Images or a reference; may be empty with a calibration, which has a target.
    profile
        Conventions; empty for those of the calibration or of the reference, else ``"stream"``.
    least_tissue
        In place of the conventions' own.

    Raises
    ------
    UsageError
        If the target is missing, or something is unknown or does not fit together.
    """
    known = api.method(normalizer)
    if isinstance(known, Fitted):
        if goal or profile:
            raise UsageError(
                f"cannot give {normalizer} another target or profile", "it is a calibration, which has both"
            )
        return replace(known, conventions=_with(known.conventions, least_tissue)), True
    kind = TABLE[normalizer].load()
    if not goal:
        raise UsageError(
            f"cannot normalize with {normalizer}", "it has no target", "give one: --target he-camelyon17-centre4"
        )
    wanted = target(goal)
    settings = conventions(profile or ("stream" if isinstance(wanted, Taken) else wanted.conventions))
    statistics = kind.goal(wanted.surveyor.counts if isinstance(wanted, Taken) else wanted, settings)
    return kind(statistics, statistics, _with(settings, least_tissue), kind.method), False


def _with(settings: Any, least_tissue: float | None) -> Any:
    return settings if least_tissue is None else msgspec.structs.replace(settings, least_tissue=least_tissue)
