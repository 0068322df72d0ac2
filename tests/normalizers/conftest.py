"""Fixtures for all methods."""

from __future__ import annotations

from pathlib import Path

import pytest

from stainstream.frame import RGB8

from .tiles import demo, mitos, restained, tile

Pair = tuple[RGB8, RGB8]


@pytest.fixture(scope="session", params=["demo", "centers 0 and 4", "centers 3 and 2", "MITOS 05"])
def pair(request: pytest.FixtureRequest) -> Pair:
    """Real tissue of two looks: a source and a target."""
    if request.param == "demo":
        return demo(0, 0), restained(demo(1, 2))
    shared: Path = request.getfixturevalue("shared")
    if request.param == "MITOS 05":
        return mitos(shared, "aperio", "05"), mitos(shared, "hamamatsu", "05")
    source, target = (int(word) for word in request.param.split() if word.isdigit())
    return tile(shared, source), tile(shared, target)
