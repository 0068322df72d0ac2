"""``stainstream calibrate`` as users run it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import zmq

import stainstream as ss
from stainstream.color.flatfield import read as read_profile
from stainstream.normalizers.store import read, read_reference, read_surveys
from tests.color.test_flatfield import blanks
from tests.normalizers.tiles import LOW_TISSUE, demo, restained

from .conftest import Command

DEMO = ("--source", "demo?size=256x256&rate=0")


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    """A lab's tiles, to look like."""
    folder = tmp_path / "lab"
    folder.mkdir()
    for k in range(4):
        cv2.imwrite(str(folder / f"{k}.png"), restained(demo(k, k, 256))[..., ::-1])
    return folder


def test_a_calibration_is_made_and_used(command: Command, tiles: Path, tmp_path: Path) -> None:
    done = command("calibrate", *DEMO, "--target", tiles, "--frames", 20, "--out", "mine.toml", "--license", "CC0-1.0")
    assert done.returncode == 0, done.stderr
    assert "source: 20 frames with tissue; 0 without" in done.stderr
    assert "converged: the maps of two halves of the frames differ by" in done.stderr
    fitted, surveys = read(tmp_path / "mine.toml"), read_surveys(tmp_path / "mine.toml")
    assert (fitted.name, fitted.method) == ("mine", "macenko")
    assert (surveys["source"].frames, surveys["target"].frames) == (20, 4)
    assert surveys["source"].license == "CC0-1.0"
    sheet = cv2.imread(str(tmp_path / "mine.png"))
    assert sheet is not None
    assert sheet.shape[1] == 4 * 328 + 8
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 1000
    done = command("run", *DEMO, "--frames", 3, "--model", "mine.toml", "--sink", "out")
    assert "model mine on lut_numba" in done.stderr
    with ss.load(tmp_path / "mine.toml") as normalize, ss.open_source("demo?size=256x256&rate=0&frames=3") as source:
        for frame in source:
            written = cv2.imread(str(tmp_path / "out" / f"frame_{frame.seq:09d}.png"))
            assert written is not None
            np.testing.assert_array_equal(written[..., ::-1], normalize(frame.image))


def test_without_a_target_a_reference_is_made(command: Command, tiles: Path, tmp_path: Path) -> None:
    assert command("calibrate", "--source", tiles, "--out", "lab.toml").returncode == 0
    made = read_reference(tmp_path / "lab.toml")
    assert (made.name, len(made.statistics)) == ("lab", 5)
    done = command("calibrate", *DEMO, "--target", "lab.toml", "--frames", 5, "--method", "khan", "--out", "k.toml")
    assert done.returncode == 0, done.stderr
    assert read(tmp_path / "k.toml").target == made.statistics["khan"]


def test_a_feed_is_a_source(command: Command, tmp_path: Path) -> None:
    """Over ZeroMQ, from a scanner that is played."""
    with zmq.Context() as context, context.socket(zmq.PULL) as probe:
        port = probe.bind_to_random_port("tcp://127.0.0.1")
    scanner = subprocess.Popen(
        [sys.executable, "-m", "stainstream", "replay", "demo?size=128x128&rate=0", "--to",
         f"zmq+tcp://127.0.0.1:{port}?pattern=push&bind=1"],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        feed = f"zmq+tcp://127.0.0.1:{port}?pattern=pull"
        done = command("calibrate", "-s", feed, "-t", "he-camelyon17-centre4", "--frames", 10, "-o", "feed.toml")
    finally:
        scanner.send_signal(signal.SIGTERM)
        scanner.wait(10)
    assert done.returncode == 0, done.stderr
    assert read_surveys(tmp_path / "feed.toml")["source"].frames == 10


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_ctrl_c_uses_what_was_seen(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stainstream", "calibrate", "-s", "demo?size=64x64&rate=20"]
    command += ["-t", "he-camelyon17-centre4", "-o", "x.toml"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if re.search(r"(8|16) of 200 frames", line):
                break
        running.send_signal(signal.SIGINT)
        rest = running.stderr.read()
    assert running.returncode == 0, rest
    assert 8 <= read_surveys(tmp_path / "x.toml")["source"].frames < 200


def test_a_camera_profile_is_made_and_used(command: Command, tmp_path: Path) -> None:
    (tmp_path / "blank").mkdir()
    for k, image in enumerate(blanks()):
        cv2.imwrite(str(tmp_path / "blank" / f"{k}.png"), image[..., ::-1])
    done = command("calibrate", "--blank", "--source", "blank", "--out", "cam.toml", "--note", "10x")
    assert done.returncode == 0, done.stderr
    assert "4 frames of 320x240" in done.stderr
    assert "run: stainstream run --source 'blank?profile=cam.toml'" in done.stderr
    profile = read_profile(tmp_path / "cam.toml")
    assert (profile.name, profile.note, profile.frames) == ("cam", "10x", 4)
    assert (tmp_path / "cam.toml").stat().st_size < 10_000
    done = command("run", "--source", "blank?profile=cam.toml", "--model", "he-reinhard", "--sink", "out")
    assert done.returncode == 0, done.stderr
    for path in (tmp_path / "out").iterdir():
        written = cv2.imread(str(path))
        assert written is not None
        assert np.abs(written.mean(axis=(0, 1)) - 245).max() < 1  # glass stays glass


WRONG = {
    "no tissue": (
        ("-s", "glass.png", "-t", "he-camelyon17-centre4", "-o", "x.toml"),
        "none of its 1 frames has tissue",
    ),
    "no source": (("-s", "none", "-t", "he-camelyon17-centre4", "-o", "x.toml"), "cannot read none"),
    "no target": ((*DEMO, "-t", "none.toml", "-o", "x.toml"), "no calibration 'none.toml'"),
    "a broken target": ((*DEMO, "-t", "broken.png", "-o", "x.toml"), "cannot use target 'broken.png'"),
    "an edited target": ((*DEMO, "-t", "edited.toml", "-o", "x.toml"), "edited.toml, line 3: [conventions] whit"),
    "a method": ((*DEMO, "-t", "he-camelyon17-centre4", "-m", "magic", "-o", "x.toml"), "unknown method 'magic'"),
    "a profile": ((*DEMO, "-t", "glass.png", "--profile", "x", "-o", "x.toml"), "cannot use target"),
    "no folder": ((*DEMO, "-o", "nowhere/x.toml"), "no .toml file in a folder"),
    "no TOML": ((*DEMO, "-o", "x.txt"), "no .toml file in a folder"),
    "not blank": ((*DEMO, "--blank", "--frames", "2", "-o", "x.toml"), "it is not blank"),
}


@pytest.mark.parametrize("case", WRONG)
def test_mistakes_end_in_one_line(case: str, command: Command, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "glass.png"), LOW_TISSUE["glass"])
    (tmp_path / "broken.png").write_bytes(b"no image")
    (tmp_path / "edited.toml").write_text('name = "x"\n[conventions]\nwhit = 1.0\n')
    arguments, message = WRONG[case]
    done = command("calibrate", *arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "x.toml").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on a file's size stands for a full disk on Linux only")
def test_a_full_disk_costs_nothing_that_stood_there(command: Command, tmp_path: Path) -> None:
    """A limit on the size of files stands for a disk that is full."""
    arguments = ["calibrate", "-s", "demo?size=64x64&rate=0", "-t", "he-camelyon17-centre4", "--frames", "2"]
    assert command(*arguments, "-o", "compiled.toml").returncode == 0  # what is compiled is on disk then
    (tmp_path / "x.toml").write_text("precious")
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500));"
        f"sys.argv = ['stainstream', *{arguments!r}, '-o', 'x.toml']; from stainstream.cli import main; main()"
    )
    limited = [sys.executable, "-B", "-c", code]
    done = subprocess.run(limited, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    assert "cannot write x.toml: File too large" in done.stderr
    assert (tmp_path / "x.toml").read_text() == "precious"
    assert {path.name for path in tmp_path.iterdir()} == {"compiled.toml", "compiled.png", "x.toml"}
