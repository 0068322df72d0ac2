"""What is measured on a GPU, and what is said where there is none."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

import msgspec
import pytest

from stainstream.benchmark.gpu import device, gpu_rows
from stainstream.benchmark.gpu_row import GpuRow
from stainstream.engines.gpu import absent
from tests.conftest import ROOT

FIGURES = ("fps", "gb_per_s", "us_p50", "us_p99", "us_p999", "vs_copy", "vs_paper", "differs", "largest")


@pytest.mark.skipif(absent() is None, reason="there is a GPU")
def test_where_there_is_no_gpu_rows_say_not_measured_and_nothing_else() -> None:
    rows = list(gpu_rows("default", 0.01))
    assert {row.status for row in rows} == {"not measured"}
    assert {row.reason for row in rows} == {absent()}
    assert not [row for row in rows if any(getattr(row, figure) is not None for figure in FIGURES)]
    assert device() == {"status": "not measured", "reason": absent()}
    assert {row.batch for row in rows if row.bench == "device" and row.engine == "lut_cuda"} == {1, 16, 64}
    assert {row.slots for row in rows if row.bench == "host" and row.engine.startswith("lut_cuda")} == {1, 2, 3, 4}
    wanted = {"torch eager", "torch.compile", "net_onnx?provider=cuda", "net_tensorrt?precision=fp16"}
    assert wanted <= {row.engine for row in rows}
    assert {"copy", "device", "host", "latency"} == {row.bench for row in rows}


@pytest.mark.gpu
def test_on_a_gpu_the_table_is_measured_and_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stainstream.benchmark.gpu._BATCHES", (1, 2))  # the simulated GPU has but one core
    measured = takewhile(lambda row: row.bench != "latency", gpu_rows("default", 0.01))
    rows = [row for row in measured if row.engine.startswith("lut_cuda")]
    assert len(rows) == 8
    for row in rows:
        assert row.status == "measured", row.reason
        assert row.fps is not None
        assert row.fps > 0
        assert (row.differs, row.largest) == (0, 0)
        assert row.us_p50 is not None
        assert row.us_p99 is not None
        assert row.us_p50 <= row.us_p99
        if row.bench == "device":
            assert row.vs_copy is not None


def test_the_committed_results_are_the_scripts_rows() -> None:
    file = msgspec.json.decode((ROOT / "benchmarks" / "results" / "gpu.json").read_bytes())
    rows = msgspec.convert(file["rows"], list[GpuRow])
    assert len(rows) > 20
    for row in rows:
        measured = row.status == "measured"
        assert measured == (row.fps is not None)
        assert measured or row.reason
    assert "881.8" in file["paper"]
    assert file["paper_generator_fps"] == 19.6
    assert Path(ROOT / "benchmarks" / "gpu.py").is_file()
