"""``stainstream evaluate`` as users run it."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

import stainstream as ss
from stainstream.model import find

from .conftest import Command


@pytest.fixture
def sides(tmp_path: Path) -> Path:
    """Two tiles of tissue, what the default model makes of them, and one without a counterpart."""
    for side in ("source", "target"):
        (tmp_path / side).mkdir()
    with ss.open_source("demo?size=96x64&rate=0&frames=3") as source, ss.load("default") as normalize:
        for frame in source:
            cv2.imwrite(str(tmp_path / "source" / f"tile{frame.seq}.png"), frame.image[..., ::-1])
            if frame.seq < 2:
                cv2.imwrite(str(tmp_path / "target" / f"tile{frame.seq}.png"), normalize(frame.image)[..., ::-1])
    return tmp_path


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_files_and_a_picture(command: Command, sides: Path) -> None:
    (sides / "source" / "tile2.png").unlink()
    models = ("-m", "default", "--method", "reinhard", "--result", "theirs=target")
    done = command(
        "evaluate", "--source", "source", "--target", "target", *models, "--out", "results", "--crop", "1,2,3,4"
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["image", "method", "SSIM", "GT", "PSNR", "GT", "SSIM", "Source", "CIEDE2000"]
    (mean,) = [line for line in lines if line.startswith("mean of 2") and find("default").name in line]
    assert "1.000 +- 0.000" in mean
    assert "inf" in mean
    assert [row["method"] for row in _rows(sides / "results" / "summary.csv")] == [
        "not normalized",
        find("default").name,
        "reinhard (stream)",
        "theirs",
    ]
    assert len(_rows(sides / "results" / "scores.csv")) == 8
    sheet = cv2.imread(str(sides / "results" / "sheet.png"))
    assert sheet is not None
    assert sheet.shape[0] > 6 * 256  # three results of two images


def test_what_is_left_out_is_named_and_counted(command: Command, sides: Path) -> None:
    (sides / "target" / "tile1.png").write_bytes(b"no image")
    done = command("evaluate", "--source", "source", "--target", "target")
    assert done.returncode == 1
    assert "no counterpart: source/tile2.png".replace("/", os.sep) in done.stderr
    assert "skipping tile1" in done.stderr
    assert "1 pairs skipped, 1 files alone" in done.stderr
    assert find("default").name in done.stdout


def test_it_needs_no_torch(command: Command, sides: Path) -> None:
    """A folder that shadows torch stands for an installation that lacks it."""
    (sides / "shadow").mkdir()
    (sides / "shadow" / "torch.py").write_text("raise ModuleNotFoundError('No module named torch', name='torch')")
    path = os.pathsep.join([str(sides / "shadow"), os.environ.get("PYTHONPATH", "")])
    (sides / "source" / "tile2.png").unlink()
    assert command("evaluate", "--source", "source", "--target", "target", PYTHONPATH=path).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--target", "empty"], ["empty", "no images"]),
        (["--target", "none"], ["none", "no such file or folder"]),
        (["--target", "other"], ["no file's name occurs on all sides"]),
        (["--target", "target", "--crop", "60,0,60,0"], ["none of 2 pairs"]),
        (["--target", "target", "--crop", "1"], ["left,top,right,bottom"]),
        (["--target", "target", "--result", "target"], ["NAME=DIR"]),
        (["--target", "target", "--method", "magic"], ["magic", "macenko"]),
        (["--target", "target", "--model", "no-such"], ["no-such", "stainstream models"]),
        (["--target", "target", "--out", "file/x"], ["file", "irectory"]),
    ],
)
def test_errors_name_what_is_wrong(command: Command, sides: Path, arguments: list[str], words: list[str]) -> None:
    (sides / "empty").mkdir()
    (sides / "other").mkdir()
    cv2.imwrite(str(sides / "other" / "stranger.png"), np.zeros((20, 20, 3), np.uint8))
    (sides / "file").write_text("")
    done = command("evaluate", "--source", "source", *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("stainstream: error: ")]
    for word in words:
        assert word in error
