"""Each command, run as a user would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
import zmq

import stainstream as ss
from stainstream.model import find
from stainstream.opencv import quiet

from .conftest import Command


def read(path: Path) -> ss.RGB8:
    image = cv2.imread(str(path))
    assert image is not None
    return np.ascontiguousarray(image[..., ::-1])


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    """A folder of three tiles of tissue and one file that is none."""
    folder = tmp_path / "tiles"
    folder.mkdir()
    with ss.open_source("demo?size=96x64&rate=0&frames=3") as source:
        for frame in source:
            cv2.imwrite(str(folder / f"tile{frame.seq}.png"), frame.image[..., ::-1])
    return folder


def test_help_lists_every_command(command: Command) -> None:
    text = command("--help").stdout
    for name in ("run", "normalize", "replay", "bench", "models", "sources", "doctor", "evaluate", "export"):
        assert f" {name} " in text
        assert command(name, "--help").returncode == 0


def test_run_writes_the_demo_to_a_folder(command: Command, tmp_path: Path) -> None:
    done = command("run", "--source", "demo?size=80x60", "--frames", "5", "--sink", "out", "--report", "r.json")
    assert done.returncode == 0, done.stderr
    assert f"model {find('default').name} on lut_numba" in done.stderr
    assert "captured 5 = delivered 5 + dropped 0 + rejected 0" in done.stderr
    with ss.load("default", "lut_numpy") as normalize, ss.open_source("demo?size=80x60&frames=5&rate=0") as source:
        for frame in source:
            assert np.array_equal(read(tmp_path / "out" / f"frame_{frame.seq:09d}.png"), normalize(frame.image))
    report = msgspec.json.decode((tmp_path / "r.json").read_bytes())
    assert report["sinks"]["out"]["delivered"] == 5


def test_run_takes_the_policy_of_its_source(command: Command, tiles: Path) -> None:
    assert "; lossless;" in command("run", "--source", tiles, "--sink", "null").stderr
    assert "; live;" in command("run", "--source", "demo", "--frames", 1, "--sink", "null").stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to catch")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_open_files_and_ends_with_0(tmp_path: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "stainstream", "run", "--source", "demo?size=64x64", "--sink", "out.mp4"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "Ctrl-C ends" in line:
            break
    time.sleep(1.0)
    start = time.monotonic()
    process.send_signal(number)
    rest = process.communicate(timeout=10)[1]
    assert time.monotonic() - start < 2.0
    assert process.returncode == 0
    assert "captured" in rest
    quiet()  # or FFmpeg would never be quiet again in this process
    video = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    assert video.isOpened()
    assert video.read()[0]


def test_normalize_a_folder(command: Command, tiles: Path, tmp_path: Path) -> None:
    done = command("normalize", tiles, "out")
    assert done.returncode == 0, done.stderr
    assert "3/3" in done.stderr
    with ss.load("default", "lut_numpy") as normalize:
        for tile in tiles.glob("*.png"):
            assert np.array_equal(read(tmp_path / "out" / tile.name), normalize(read(tile)))
    assert command("normalize", tiles, "out").returncode == 0
    assert len(list((tmp_path / "out").iterdir())) == 3  # a second run replaces, it does not add


def test_normalize_names_and_counts_what_it_cannot_read(command: Command, tiles: Path, tmp_path: Path) -> None:
    (tiles / "tile1.png").write_bytes(b"\x89PNG, or so it says")
    done = command("normalize", tiles, "out")
    assert done.returncode == 1
    assert "tile1.png" in done.stderr
    assert "rejected 1" in done.stderr
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_normalize_one_image_into_one_file(command: Command, tiles: Path, tmp_path: Path) -> None:
    assert command("normalize", tiles / "tile0.png", "one.png").returncode == 0
    with ss.load("default", "lut_numpy") as normalize:
        assert np.array_equal(read(tmp_path / "one.png"), normalize(read(tiles / "tile0.png")))


def test_replay_to_run_to_a_subscriber(tiles: Path, tmp_path: Path) -> None:
    """Three processes: the tiles arrive in order, normalized, with their metadata."""
    stainstream = [sys.executable, "-m", "stainstream"]
    with zmq.Context() as context, context.socket(zmq.PULL) as socket:
        socket.rcvtimeo = 30_000
        last = f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}"
        middle = f"ipc://{tmp_path / 'm'}" if sys.platform != "win32" else "tcp://127.0.0.1:56071"
        source = f"zmq+{middle}?pattern=pull&bind=1&format=array-1.0"
        sink = f"zmq+{last}?pattern=push&bind=0&format=array-1.0"
        run = subprocess.Popen(
            [*stainstream, "run", "--source", source, "--sink", sink, "--frames", "6"],
            stderr=subprocess.PIPE,
            text=True,
        )
        to = f"zmq+{middle}?pattern=push&bind=0&format=array-1.0"
        replay = subprocess.run(
            [*stainstream, "replay", str(tiles), "--to", to, "--loop", "--frames", "6"], check=False
        )
        with ss.load("default", "lut_numpy") as normalize:
            for seq in range(6):
                header, payload = (part.bytes for part in socket.recv_multipart(copy=False))
                meta = msgspec.json.decode(header)
                assert meta["frame"] == seq
                assert meta["file"] == f"tile{seq % 3}.png"
                assert meta["model"]["name"] == find("default").name
                image = np.frombuffer(payload, np.uint8).reshape(meta["shape"])
                assert np.array_equal(image, normalize(read(tiles / meta["file"])))
        report = run.communicate(timeout=20)[1]
    assert (run.returncode, replay.returncode) == (0, 0)
    assert "captured 6 = delivered 6" in report


def test_models_are_listed_and_the_cache_is_freed(command: Command, tmp_path: Path) -> None:
    text = command("models").stdout
    assert "he-reinhard" in text
    assert "(default)" in text
    cache = str(tmp_path / "cache")
    assert command("normalize", "tiles", "out", STAINSTREAM_CACHE=cache).returncode == 2
    assert "deleted 0 tables" in command("models", "--clear-cache", STAINSTREAM_CACHE=cache).stdout
    command("run", "--source", "demo", "--frames", 1, "--sink", "null", STAINSTREAM_CACHE=cache)
    assert "deleted 1 tables" in command("models", "--clear-cache", STAINSTREAM_CACHE=cache).stdout


def test_sources_and_doctor_say_what_there_is(command: Command) -> None:
    sources = command("sources")
    assert sources.returncode == 0
    assert "attached cameras" in sources.stdout
    assert "stainstream run --source 'demo" in sources.stdout
    doctor = command("doctor")
    assert doctor.returncode == 0, doctor.stdout
    assert "lut_numba" in doctor.stdout
    assert "exact" in doctor.stdout


def test_doctor_finds_a_cache_that_cannot_be_written(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    doctor = command("doctor", STAINSTREAM_CACHE=str(tmp_path / "file"))
    assert doctor.returncode == 1
    assert "BROKEN" in doctor.stdout
    assert "STAINSTREAM_CACHE" in doctor.stdout


@pytest.mark.parametrize("name", ["cytopathology", "histopathology", "camelyon16"])
def test_export_reproduces_the_authors_bytes(command: Command, shared: Path, tmp_path: Path, name: str) -> None:
    official = shared / "data" / "official_stainnet"
    golden = np.load(official / "golden_64x64.npz")
    done = command("export", official / f"{name}.pth", "model")
    assert done.returncode == 0, done.stderr
    image, wanted = golden[f"{name}_in_u8"], golden[f"{name}_out_u8"]
    with ss.load(tmp_path / "model") as normalize:
        off = np.argwhere(normalize(image) != wanted).tolist()
    # Exactly, the level there is 16.000009; the authors' float32 gave 15.999984, which their truncation makes 15.
    assert off == ([[45, 7, 1]] if name == "camelyon16" else [])


def test_bench_writes_rows_with_their_ratios(command: Command, tmp_path: Path) -> None:
    done = command("bench", "--no-loop", "--seconds", "0.01", "--size", "512x512", "--json", "b.json")
    assert done.returncode == 0, done.stderr
    result = msgspec.json.decode((tmp_path / "b.json").read_bytes())
    fields = {"bench", "method", "engine", "threads", "size", "input", "fps", "ms_median", "ms_q1", "ms_q3"}
    for row in result["rows"]:
        assert fields | {"vs_paper", "vs_copy"} == set(row)
        assert row["ms_q1"] <= row["ms_median"] <= row["ms_q3"]
        if row["size"] == "512x512":
            assert row["vs_paper"] == pytest.approx(row["fps"] / 881.8, abs=1e-3)
    assert {"lut_numba", "lut_numpy", "memory copy", "onnxruntime"} <= {row["engine"] for row in result["rows"]}
    assert {"single", "batch", "stream"} <= {row["bench"] for row in result["rows"]}
    assert {"tissue", "noise"} == {row["input"] for row in result["rows"]}
    assert "1080Ti" in result["paper"]


def test_bench_says_what_of_a_gpu_was_not_measured(command: Command, tmp_path: Path) -> None:
    done = command("bench", "--engine", "gpu", "--seconds", "0.01", "--json", "g.json")
    assert done.returncode == 0, done.stderr
    result = msgspec.json.decode((tmp_path / "g.json").read_bytes())
    assert result["rows"] == []
    for row in result["gpu_rows"]:
        assert row["status"] in ("measured", "not measured")
        assert row["engine"] in done.stdout


def test_normalize_writes_a_slide(command: Command, tmp_path: Path) -> None:
    made = pytest.importorskip("tests.slides.made", reason="needs the extra: slide")
    made.write(tmp_path / "a.tif")
    done = command("normalize", "a.tif", "a.ome.zarr", "--tile", 64, "--threads", 2)
    assert done.returncode == 0, done.stderr
    assert "wrote a.ome.zarr: 700x500, 88 tiles in" in done.stderr
    assert "tiles/s" in done.stderr
    with ss.load("default", "lut_numpy") as normalize:
        assert np.array_equal(made.by_zarr(tmp_path / "a.ome.zarr"), normalize(made.content()))
    alone = command("normalize", "a.tif", "a.svs", "--per-slide", "macenko")
    assert "cannot use --per-slide alone: it needs --target" in alone.stderr
    refused = command("normalize", "slide:a.tif", "a.png")
    assert refused.returncode == 2
    assert "name it .ome.zarr, .ome.tiff, .tiff or .svs" in refused.stderr
