"""Baked tables on disk."""

from __future__ import annotations

import hashlib
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stainstream.color.cache import cached, folder
from stainstream.color.lut import COLORS, Lut

KEY, NAME = "0123", "toy"


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STAINSTREAM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def path() -> Path:
    return folder() / f"{KEY}.lut"


def _build() -> Lut:
    return Lut(np.arange(COLORS, dtype=np.uint32)[::-1].copy(), NAME)


def _never() -> Lut:
    raise AssertionError("built although it is kept")


def _right(lut: Lut) -> bool:
    return lut.name == NAME and np.array_equal(lut.table, np.arange(COLORS, dtype=np.uint32)[::-1])


def test_a_table_is_built_once_and_then_mapped(path: Path) -> None:
    assert _right(cached(KEY, NAME, _build))
    again = cached(KEY, NAME, _never)
    assert _right(again)
    assert isinstance(again.table, np.memmap)
    assert not again.table.flags.writeable
    assert list(folder().iterdir()) == [path]


def test_the_file_is_the_words_and_their_digest(path: Path) -> None:
    words = cached(KEY, NAME, _build).table.astype("<u4").tobytes()
    assert path.read_bytes() == words + hashlib.sha256(words).digest()


def test_another_key_is_another_table() -> None:
    cached(KEY, NAME, _build)
    other = cached("4567", "other", lambda: Lut(np.arange(COLORS, dtype=np.uint32), "other"))
    assert other.table[5] == 5
    assert _right(cached(KEY, NAME, _never))


def _flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at, os.SEEK_SET if at >= 0 else os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 0x10]))


def _to_link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "first byte": lambda path: _flip(path, 0),
    "middle byte": lambda path: _flip(path, 4 * COLORS // 2 + 1),
    "byte of the digest": lambda path: _flip(path, -1),
    "one byte short": lambda path: os.truncate(path, 4 * COLORS + 31),
    "no digest": lambda path: os.truncate(path, 4 * COLORS),
    "empty": lambda path: os.truncate(path, 0),
    "one byte long": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "a link to itself": _to_link_to_itself,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_built_anew(path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    cached(KEY, NAME, _build)
    try:
        DAMAGE[damage](path)
    except OSError as error:  # Windows lends links to administrators only
        pytest.skip(f"cannot damage the file so here: {error}")
    with caplog.at_level(logging.WARNING):
        assert _right(cached(KEY, NAME, _build))
    assert "baking toy again" in caplog.text
    assert _right(cached(KEY, NAME, _never))
    assert list(folder().iterdir()) == [path]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root and Windows read every file")
def test_an_unreadable_file_is_built_anew(path: Path) -> None:
    cached(KEY, NAME, _build)
    path.chmod(0)
    assert _right(cached(KEY, NAME, _build))
    assert _right(cached(KEY, NAME, _never))


def test_a_folder_in_the_files_place_costs_a_warning(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (path / "full").mkdir(parents=True)
    assert _right(cached(KEY, NAME, _build))
    assert "cannot keep the table of toy" in caplog.text
    assert list(folder().iterdir()) == [path]


def test_a_cache_that_cannot_be_written_costs_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("STAINSTREAM_CACHE", str(tmp_path / "file" / "cache"))
    for _ in range(2):
        caplog.clear()
        assert _right(cached(KEY, NAME, _build))
        assert "cannot keep the table of toy" in caplog.text
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_build_that_fails_leaves_nothing_behind() -> None:
    with pytest.raises(AssertionError):
        cached(KEY, NAME, _never)
    assert not folder().exists()


def test_a_write_that_breaks_off_leaves_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    resource = pytest.importorskip("resource", reason="Windows limits no file's size")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        assert _right(cached(KEY, NAME, _build))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert "cannot keep the table of toy" in caplog.text
    assert list(folder().iterdir()) == []
