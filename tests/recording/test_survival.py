"""Whatever ends a recording, what was stored can be read."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import stainstream as ss

from .shots import FORMATS, check, lines, read

pytest.importorskip("av", reason="needs the extra: record")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX")

RATE = 50


def command(source: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "stainstream", "run", "--source", source, "--sink", "null", *arguments]


def images(count: int, size: str) -> list[ss.RGB8]:
    """What the demo shows, normalized."""
    source = ss.open_source(f"demo?size={size}&rate=0&frames={count}&barcode=1")
    with ss.load("default", "lut_numpy") as normalize, source as demo:
        return [normalize(frame.image) for frame in demo]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_is_ended_leaves_a_file(tmp_path: Path, suffix: str, number: signal.Signals) -> None:
    path, sidecar = tmp_path / f"a.{suffix}", tmp_path / f"a.{suffix}.jsonl"
    process = subprocess.Popen(
        command(f"demo?size=160x120&rate={RATE}&barcode=1", "--record", str(path), "--policy", "lossless"),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not sidecar.exists() or sidecar.read_bytes().count(b"\n") < 2 * RATE:
            assert time.monotonic() < deadline, process.poll()
            time.sleep(0.05)
        process.send_signal(number)
        report = process.communicate(timeout=20)[1]
    finally:
        process.kill()
    written = sidecar.read_bytes().count(b"\n")
    found = read(path)
    if number == signal.SIGTERM:
        assert process.returncode == 0, report
        assert f"recorded {written} frames to {path}" in report
        assert len(found) == written
    else:
        # A video's last half second is lost, an OME-TIFF's description may lack a tenth or 30, a Zarr's shape a second.
        lost = {"mp4": 0.7 * RATE, "ome.tiff": 31, "ome.zarr": 1.2 * RATE}[suffix]
        assert written - lost <= len(found) <= written
    check(path, images(len(found), "160x120"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk takes root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("policy", ["live", "lossless"])
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_full_disk_ends_the_recording_and_not_the_stream(small_disk: Path, suffix: str, policy: str) -> None:
    path = small_disk / f"a.{suffix}"
    if suffix == "mp4":  # which needs so much less
        (small_disk / "other").write_bytes(bytes(2_000_000))
    size, count = "320x256", 120
    done = subprocess.run(
        command(
            f"demo?size={size}&rate=100&frames={count}&barcode=1",
            *("--record", f"{path}?quality=0", "--policy", policy, "--capacity", "64"),
        ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "recording stopped: cannot write" in done.stderr
    assert "No space left on device" in done.stderr
    assert f"captured {count}" in done.stderr
    found = read(path)
    assert f"; {len(found)} frames are in {path}" in done.stderr
    assert f"recorded {len(found)}" in done.stderr
    assert f"not recorded {count - len(found)}" in done.stderr or policy == "live"
    assert len(lines(path.with_name(f"{path.name}.jsonl"))) == len(found)
    assert 8 <= len(found) < count
    check(path, images(len(found), size))


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
import numpy as np
import stainstream as ss
from stainstream.sinks.recorder import Recorder
with ss.open_sink("record:" + sys.argv[1]) as sink:
    assert isinstance(sink, Recorder)
    for seq in range(100):
        noise = np.random.default_rng(seq).integers(0, 256, (96, 96, 3), np.uint8)
        sink.write(ss.Frame(noise, ss.PixelFormat.RGB8, seq, seq * 33_000_000))
    assert not sink.recording
    print(sink.counts["recorded"], sink.counts["not recorded"], sink.error)
"""


@pytest.mark.parametrize("suffix", ["mp4", "ome.tiff"])
def test_a_file_that_may_not_grow_is_like_a_full_disk(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, f"{path}?quality=0"], capture_output=True, text=True, timeout=60, check=True
    )
    recorded, missed, error = done.stdout.split(maxsplit=2)
    assert int(recorded) + int(missed) == 100
    assert "File too large" in error
    assert len(read(path)) == int(recorded) > 0


def test_a_folder_that_vanishes_ends_the_recording(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    with ss.open_source("demo?size=64x64&rate=0&frames=3") as source, ss.open_sink(f"{folder}/a.ome.zarr") as sink:
        frames = list(source)
        sink.write(frames[0])
        shutil.rmtree(folder)
        for frame in frames[1:]:
            sink.write(frame)
        assert sink.counts == {"recorded": 1, "not recorded": 2}


def test_pages_are_a_file_after_every_single_one(tmp_path: Path) -> None:
    import tifffile

    from stainstream.recording.bigtiff import Pages

    rng = np.random.default_rng(0)
    expected = rng.integers(0, 256, (5, 7, 9, 3), np.uint8)
    pages = Pages(tmp_path / "a.tiff", 9, 7, None)
    for count, image in enumerate(expected, 1):
        pages.append(image)
        pages.describe(f"{count} pages", 20 if count == 1 else 0)
        os.link(tmp_path / "a.tiff", tmp_path / f"{count}.tiff")
        with tifffile.TiffFile(tmp_path / f"{count}.tiff") as file:
            np.testing.assert_array_equal([page.asarray() for page in file.pages], expected[:count])
            assert file.pages.first.description == f"{count} pages"
    pages.close()
