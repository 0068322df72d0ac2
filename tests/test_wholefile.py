"""Files that appear when they are whole."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from stainstream.wholefile import write_whole


def test_it_replaces_what_was_there(tmp_path: Path) -> None:
    for data in (b"first, and longer", memoryview(b"second")):
        write_whole(tmp_path / "a.bin", data)
        assert (tmp_path / "a.bin").read_bytes() == data
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the size of files")
def test_where_the_disk_ends_what_was_there_stays(tmp_path: Path) -> None:
    import resource
    import signal

    (tmp_path / "a.bin").write_bytes(b"good")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_whole(tmp_path / "a.bin", bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / "a.bin").read_bytes() == b"good"
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
