"""1080p at 30 frames a second recorded to each format: ``python benchmarks/recording.py RESULT.json [SECONDS]``.

``live``: `stainstream run` on a camera's terms (the demo at its rate, policy ``live``, two processors), without a
recording and with one of each format: processor time, frames dropped by cause, bytes. ``write``: the same frames by
our writers and by other libraries, as fast as they take them, in turns in one process: processor time and wall time
of a frame. Needs the extra ``record`` and psutil; the other libraries are measured where they are installed.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil

import stainstream as ss
from stainstream.benchmark.rows import machine
from stainstream.recording.base import Encoding, Shot
from stainstream.recording.take import Take

FORMATS = ("mp4", "ome.tiff", "ome.zarr")
SIZE, RATE = (1920, 1080), 30
FRAMES, ROUNDS = 60, 3


def cores(count: int = 2) -> None:
    """Keep this process and its children to so many processors."""
    with suppress(AttributeError):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def live(suffix: str, what: str, seconds: int, folder: Path) -> dict[str, Any]:
    """One run of the whole program; an empty suffix records nothing."""
    source = f"demo?size={SIZE[0]}x{SIZE[1]}&rate={RATE}"
    command = [sys.executable, "-m", "stainstream", "run", "--source", source, "--sink", "null"]
    command += ["--record", str(folder / f"a.{suffix}"), "--record-what", what] if suffix else []
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [*command, "--seconds", str(seconds), "--report", str(folder / "report.json")], check=True, capture_output=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = json.loads((folder / "report.json").read_text())
    sink = next(sink for name, sink in report["sinks"].items() if suffix in name or not suffix)
    os.unlink(folder / "report.json")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    row = {
        "bench": "live",
        "format": suffix or "no recording",
        "what": what,
        "captured": report["captured"],
        "recorded": report["notes"].get("recorded", 0),
        "dropped": sink["dropped"],
        "latency_ms_p99": report["latency_ms"][1],
        "cpu_s": round(used, 2),
        "mb_per_s": round(size_of(folder) / seconds / 1e6, 1),
    }
    shutil.rmtree(folder)
    folder.mkdir()
    return row


def ours(suffix: str) -> Callable[[Path, list[ss.RGB8]], None]:
    """One of our own writers."""

    def write(folder: Path, images: list[ss.RGB8]) -> None:
        shots = [Shot({"normalized": rgb}, seq, seq * 33_333_333, {}) for seq, rgb in enumerate(images)]
        take = Take(folder / f"a.{suffix}", shots[0], Encoding())
        for shot in shots:
            take.add(shot)
        take.end()

    return write


def opencv(folder: Path, images: list[ss.RGB8]) -> None:
    """MPEG-4 by OpenCV's FFmpeg."""
    video = cv2.VideoWriter(str(folder / "a.mp4"), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), RATE, SIZE)
    for rgb in images:
        video.write(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    video.release()


def tifffile(folder: Path, images: list[ss.RGB8]) -> None:
    """OME-TIFF by tifffile, a page a call."""
    from tifffile import TiffWriter

    with TiffWriter(folder / "a.ome.tiff", bigtiff=True, ome=False) as file:
        for rgb in images:
            file.write(rgb, photometric="rgb", metadata=None, contiguous=False)


def zarr(folder: Path, images: list[ss.RGB8]) -> None:
    """The same chunks by zarr-python."""
    import zarr as library
    from zarr.codecs import TransposeCodec

    array = library.create_array(
        folder / "a.zarr",
        shape=(len(images), 3, SIZE[1], SIZE[0]),
        chunks=(1, 3, SIZE[1], SIZE[0]),
        dtype="u1",
        filters=[TransposeCodec(order=(0, 2, 3, 1))],
        compressors=None,
    )
    for index, rgb in enumerate(images):
        array[index] = rgb.transpose(2, 0, 1)


def acquire_zarr(folder: Path, images: list[ss.RGB8]) -> None:
    """Planar chunks, the only ones it can write, by acquire-zarr."""
    import acquire_zarr as library

    kinds = library.DimensionType
    axes = (("t", kinds.TIME, 0), ("c", kinds.CHANNEL, 3), ("y", kinds.SPACE, SIZE[1]), ("x", kinds.SPACE, SIZE[0]))
    dimensions = [
        library.Dimension(name=name, kind=kind, array_size_px=size, chunk_size_px=size or 1, shard_size_chunks=1)
        for name, kind, size in axes
    ]
    array = library.ArraySettings(output_key="0", dimensions=dimensions, data_type=np.uint8)
    stream = library.ZarrStream(library.StreamSettings(store_path=str(folder / "a.zarr"), arrays=[array]))
    planes = np.empty((3, *SIZE[::-1]), np.uint8)
    for rgb in images:
        cv2.split(rgb, list(planes))
        stream.append(planes, "0")
    stream.close()


WRITERS = {
    **{f"stainstream {suffix}": ours(suffix) for suffix in FORMATS},
    "OpenCV mp4v": opencv,
    "tifffile": tifffile,
    "zarr-python": zarr,
    "acquire-zarr": acquire_zarr,
}


def write(images: list[ss.RGB8], folder: Path) -> list[dict[str, Any]]:
    """Each writer in turns."""
    taken: dict[str, list[tuple[float, float, int]]] = {}
    for _ in range(ROUNDS + 1):
        for name, writer in WRITERS.items():
            wall, used = time.perf_counter(), time.process_time()
            with suppress(ImportError):
                writer(folder, images)
                row = (time.process_time() - used, time.perf_counter() - wall, size_of(folder))
                taken.setdefault(name, []).append(row)
            shutil.rmtree(folder)
            folder.mkdir()
    rows = []
    for name, runs in taken.items():
        cpu, wall, size = np.median(runs[1:], axis=0).tolist()  # the first was warm-up
        rows.append(
            {
                "bench": "write",
                "writer": name,
                "cpu_ms": round(1e3 * cpu / len(images), 2),
                "wall_ms": round(1e3 * wall / len(images), 2),
                "mb_per_frame": round(size / len(images) / 1e6, 3),
            }
        )
    return rows


def main(file: Path, seconds: int) -> None:
    """Measure all and write it down."""
    cores()
    with ss.open_source(f"demo?size={SIZE[0]}x{SIZE[1]}&rate=0&frames={FRAMES}") as source:
        images = [frame.image for frame in source]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "out"
        folder.mkdir()
        live("", "normalized", 2, folder)  # warm-up
        load = psutil.getloadavg()[0]
        rows = [live("", "normalized", seconds, folder)]
        rows += [live(suffix, what, seconds, folder) for suffix in FORMATS for what in ("normalized", "both")]
        bare = rows[0]["cpu_s"]
        for row in rows:
            row["cores_for_recording"] = round((row["cpu_s"] - bare) / seconds, 3)
        rows += write(images, folder)
    head = {**machine(), "load_before": round(load, 2), "seconds": seconds}
    file.write_text(json.dumps({"machine": head, "rows": rows}, indent=2) + "\n")
    for row in rows:
        print(row)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 30)
