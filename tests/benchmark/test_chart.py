"""The chart, and what happens without the library that draws it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from stainstream.benchmark.chart import chart
from stainstream.benchmark.rows import Row, row
from stainstream.errors import MissingExtra, UsageError

ROWS: list[Row] = [
    row(
        bench="single", method="m", engine=name, threads=1, size="512x512", input="tissue", fps=fps, copy_ms=0.02, ms=ms
    )
    for name, fps, ms in (("lut_numba", 8000.0, (0.125, 0.12, 0.13)), ("onnxruntime", 100.0, (10.0, 9.0, 11.0)))
]


def test_ratios() -> None:
    assert ROWS[0].vs_paper == pytest.approx(8000 / 881.8, rel=1e-3)
    assert ROWS[0].vs_copy == pytest.approx(0.125 / 0.02)


def test_without_matplotlib_its_pip_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"pip install 'stainstream\[bench\]'"):
        chart(ROWS, tmp_path / "c.svg")


def test_a_chart_shows_every_engine_and_the_paper(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    import matplotlib as mpl

    with mpl.rc_context({"svg.fonttype": "none"}):
        chart(ROWS, tmp_path / "c.svg")
    text = (tmp_path / "c.svg").read_text()
    for word in ("lut_numba", "onnxruntime", "881.8"):
        assert word in text


def test_a_chart_that_cannot_be_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(UsageError, match="cannot write"):
        chart(ROWS, tmp_path / "no" / "such" / "folder" / "c.svg")
