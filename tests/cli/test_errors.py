"""What goes wrong ends in one line that names what was asked, why it failed and what to run; exit code 2."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from stainstream.model import find

from .conftest import Command

CALIBRATION = "he-macenko-centre2-to-centre4"
CASES = {
    "missing file": (["run", "--source", "no-such.png", "--sink", "null"], ["no-such.png", "no such file"]),
    "unknown scheme": (["run", "--source", "gopher://x", "--sink", "null"], ["gopher://x", "camera0"]),
    "unknown sink": (["run", "--sink", "gopher://x"], ["gopher://x", "zmq+tcp"]),
    "unknown option": (["run", "--source", "demo?sice=3x3", "--sink", "null"], ["sice", "known keys: size"]),
    "wrong option": (["run", "--source", "demo?rate=fast", "--sink", "null"], ["rate", "known keys"]),
    "absent camera": (["run", "--source", "camera63", "--sink", "null"], ["camera63", "stainstream sources"]),
    "unknown model": (["run", "--model", "no-such-model", "--sink", "null"], ["no-such-model", "stainstream models"]),
    "unknown engine": (["run", "--engine", "abacus", "--sink", "null"], ["abacus", "lut_numba"]),
    "unwritable sink": (["run", "--frames", "1", "--sink", "file/folder"], ["file/folder", "directory"]),
    "bad format": (["run", "--sink", "zmq+tcp://127.0.0.1:0?format=telepathy"], ["telepathy", "known keys"]),
    "no wire address": (["replay", "file", "--to", "zmq+tcp://nowhere"], ["tcp://nowhere", "no such address"]),
    "pickle": (["export", "file", "folder"], ["file", "not a file of tensors"]),
    "no model to export": (["export", "no-such-model"], ["no-such-model", "stainstream models"]),
    "no network in a calibration": (["export", CALIBRATION, "--to", "onnx"], [CALIBRATION, "--to cube"]),
    "rounding of a model": (["export", "default", "--rounding", "nearest"], ["default", "leave --rounding out"]),
    "export into no folder": (["export", "default", "none/a.npy"], ["none/a.npy", "No such file"]),
    "no cube": (["normalize", "broken.png", "out", "--model", "x.cube"], ["x.cube", "line 1", "LUT_3D_SIZE"]),
    "empty folder": (["normalize", "empty", "out"], ["empty", "no images"]),
    "unreadable image": (["normalize", "broken.png", "out"], ["broken.png"]),
}


@pytest.mark.parametrize(("arguments", "words"), CASES.values(), ids=CASES)
def test_one_line_and_exit_code_2(command: Command, tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    (tmp_path / "file").write_text("neither an image nor a checkpoint")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.cube").write_text("LUT_3D_SIZE many")
    done = command(*arguments)
    errors = [line for line in done.stderr.splitlines() if line.startswith("stainstream: error: ")]
    assert done.returncode == 2, done.stderr
    assert len(errors) == 1
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in errors[0]


def test_debug_shows_the_traceback_wherever_it_stands(command: Command) -> None:
    done = command("run", "--source", "no-such.png", "--sink", "null", "--debug")
    assert done.returncode != 0
    assert "Traceback" in done.stderr


def test_a_model_with_a_wrong_digest_is_refused(command: Command, tmp_path: Path) -> None:
    model = find("default")
    folder = tmp_path / "tampered"
    folder.mkdir()
    (folder / "card.toml").write_bytes((model.path / "card.toml").read_bytes())
    (folder / "model.onnx").write_bytes(model.network.read_bytes() + b"\0")
    done = command("run", "--model", folder, "--sink", "null")
    assert done.returncode == 2
    assert "digest" in done.stderr
    assert "stainstream export" in done.stderr


def test_a_missing_extra_names_its_pip_command(command: Command, tmp_path: Path) -> None:
    """Without torch; a folder that shadows it stands for an installation that lacks it."""
    (tmp_path / "shadow").mkdir()
    (tmp_path / "shadow" / "torch.py").write_text("raise ModuleNotFoundError('No module named torch', name='torch')")
    (tmp_path / "x.pth").write_bytes(b"")
    done = command("export", "x.pth", "folder", PYTHONPATH=str(tmp_path / "shadow"))
    assert done.returncode == 2
    assert "pip install 'stainstream[train]'" in done.stderr


def test_the_report_adds_up_also_after_an_error(command: Command, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(b"no image")
    done = command("run", "--source", "*.png", "--sink", "null", "--report", "report.json")
    assert done.returncode == 2
    report = msgspec.json.decode((tmp_path / "report.json").read_bytes())
    assert report["captured"] == sum(report["rejected"].values()) == 3
