"""Every party may be killed at any moment: nothing is lost, doubled, or out of order."""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path

import pytest

import stainstream as ss
from tests.feed.parties import ordeal, tile

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="ipc needs Unix sockets")


def expected(tiles: int) -> list[str]:
    """What the consumer's record must be."""
    with ss.load("default", engine="lut_numpy") as normalize:
        return [f"{seq:08d} {hashlib.sha256(normalize(tile(seq)).tobytes()).hexdigest()}" for seq in range(tiles)]


@pytest.mark.timeout(240)
def test_nothing_is_lost_whoever_is_killed() -> None:
    tiles, kills = 1200, 4
    ss.load("default").close()  # baked before anybody is in a hurry
    with tempfile.TemporaryDirectory(prefix="ss") as folder:
        result = ordeal(Path(folder), tiles, kills, seed=7, limit_s=200)
        assert (Path(folder) / "record").read_text().splitlines() == expected(tiles)
    assert result["kills"] == {"scanner": kills, "runtime": kills, "consumer": kills}
    assert result["scanner_says"] == [str(tiles), str(tiles), "0", "True"]
    assert result["consumer_says"] == [str(tiles), str(tiles), "True"]
