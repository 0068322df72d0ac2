"""What a camera's own process costs, and how fast failures are noticed: ``python benchmarks/capture.py RESULT.json``.

The camera is made up, so that its failures can be timed: noise of the stated size and rate, in memory of its "library".
CPU is that of all processes together, in percent of one core, median of runs that take turns with reading in process.
Times are in ms; see `trial` for what they run from. ``load`` is the system's load average, ours included.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil

from stainstream.benchmark.rows import machine
from stainstream.capture.driver import Driver, Shot
from stainstream.errors import SourceError
from stainstream.frame import PixelFormat
from stainstream.sources.camera import Camera, CameraOptions
from stainstream.sources.pace import Pace

SIZES = {"1080p30": (1080, 1920, 30.0), "4K15": (2160, 3840, 15.0)}
SECONDS, ROUNDS, TRIALS = 10.0, 3, 30


class Made(Camera):
    """A camera of the benchmark's making; `target` is the file that says whether it works."""

    class Options(CameraOptions, frozen=True, kw_only=True):
        """What can be set."""

        height: int = 1080
        width: int = 1920

    options: Options
    driver = "capture:MadeDriver"


class MadeDriver(Driver):
    """Shows four pictures of noise in turn, at a steady rate, until the file says something else than ``play``."""

    Options = Made.Options
    options: Made.Options

    def open(self) -> str:
        if self._mode() == "gone":
            raise SourceError("cannot read it", "it is gone")
        shape = (4, self.options.height, self.options.width, 3)
        self._images = np.random.default_rng().integers(0, 256, shape, np.uint8)
        self._pace, self._number = Pace(self.options.rate, threading.Event()), 0
        return ""

    def read(self) -> Shot:
        self._pace.wait()
        mode = self._mode()
        if mode == "hang":
            time.sleep(3600)
        if mode == "gone":
            raise SourceError("lost it", "it is gone")
        self._number += mode != "freeze"
        return Shot(self._images[self._number % 4], PixelFormat.BGR8)

    def close(self) -> None:
        """Nothing is held."""

    def _mode(self) -> str:
        return Path(self.target).read_text(encoding="utf-8")


def switch(file: Path, mode: str) -> int:
    """Make the camera do something else; when that was, in ns."""
    new = file.with_suffix(".new")
    new.write_text(mode, encoding="utf-8")
    new.replace(file)
    return time.monotonic_ns()


def cpu_s() -> float:
    """CPU seconds of this process and its children so far."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(sum(each.cpu_times()[:2]) for each in processes)


def cost(read: Callable[[], object]) -> float:
    """Percent of a core that `read`, called for a while, takes."""
    for _ in range(5):
        read()
    began, before = time.monotonic(), cpu_s()
    while time.monotonic() - began < SECONDS:
        read()
    return 100 * (cpu_s() - before) / (time.monotonic() - began)


def costs(file: Path) -> dict[str, dict[str, float]]:
    """CPU by size: read in process, and through a process of its own."""
    results = {}
    for name, (height, width, rate) in SIZES.items():
        options = Made.Options(rate=rate, height=height, width=width, stall=5)
        here, apart = [], []
        for _ in range(ROUNDS):
            driver = MadeDriver(str(file), options)
            driver.open()
            here.append(cost(lambda driver=driver: driver.read().image.copy()))
            with Made(str(file), options) as source:
                apart.append(cost(iter(source).__next__))
        results[name] = {
            "in_process_percent": round(float(np.median(here)), 2),
            "own_process_percent": round(float(np.median(apart)), 2),
        }
    return results


def trial(file: Path, cause: str, break_it: Callable[[Made], int], repair: Callable[[], int]) -> dict[str, float]:
    """Break the camera, repair it when that was noticed, and wait for it.

    Returns
    -------
    ``noticed_ms``: from the failure until the camera is opened anew; a driver that hangs failed with its last picture.
    ``back_ms``: from the repair, or from the failure where nothing needs one, until the next picture.
    """
    switch(file, "play")
    seen: list[int] = []
    with Made(str(file), Made.Options(rate=30, height=480, width=640)) as source:
        frames = iter(source)
        for _ in range(20):
            last = next(frames)
        broken = break_it(source)
        watch = threading.Thread(target=_attend, args=(source, cause, seen, repair))
        watch.start()
        while not source.reconnects:
            frame = next(frames)
            last = last if source.reconnects else frame
        watch.join()
    noticed, repaired = seen
    failed = last.captured_ns if cause == "stalled" else broken
    return {"noticed_ms": (noticed - failed) / 1e6, "back_ms": (frame.captured_ns - (repaired or failed)) / 1e6}


def _attend(source: Made, cause: str, seen: list[int], repair: Callable[[], int]) -> None:
    while not source.reconnects[cause]:
        time.sleep(0.001)
    seen.append(time.monotonic_ns())
    seen.append(repair())


def kill(source: Made) -> int:
    """Kill the capture process."""
    assert source._process is not None
    os.kill(source._process.pid, signal.SIGKILL)
    return time.monotonic_ns()


def spread(values: list[float]) -> dict[str, float]:
    """Median, 95th percentile and largest."""
    return {
        "median": round(float(np.median(values)), 1),
        "p95": round(float(np.percentile(values, 95)), 1),
        "max": round(max(values), 1),
    }


def main(result: Path) -> None:
    """Measure all and write it down."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "camera"

        def later() -> int:
            time.sleep(1.0)
            return switch(file, "play")

        cases: dict[str, tuple[str, Callable[[Made], int], Callable[[], int]]] = {
            "driver hangs": ("stalled", lambda _: switch(file, "hang"), lambda: switch(file, "play")),
            "picture repeats": ("frozen", lambda _: switch(file, "freeze"), lambda: switch(file, "play")),
            "process killed": ("crashed", kill, lambda: 0),
            "device unplugged for a second": ("lost", lambda _: switch(file, "gone"), later),
        }
        switch(file, "play")
        results: dict[str, object] = {"cpu": costs(file)}
        for name, case in cases.items():
            trials = [trial(file, *case) for _ in range(TRIALS)]
            results[name] = {key: spread([each[key] for each in trials]) for key in trials[0]}
    result.write_text(
        json.dumps({"machine": machine(), "load": os.getloadavg(), "trials": TRIALS, "results": results}, indent=2)
        + "\n"
    )
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
