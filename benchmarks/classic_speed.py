"""Speed of the classic methods beside their peers: ``python benchmarks/classic_speed.py RESULT.json [bakes]``.

Fitting one frame of 512x512, normalizing one after the other, and a stream of them on all cores; peers
run in turns with ours, on the same tissue: ``pip install torchstain stainx torch-staintools tiatoolbox``, and for
StainTools ``pip install --no-deps staintools spams-bin``. One that cannot be imported gets a row with the reason.
(A peer's normalizing fits its source again in every frame: its interface offers nothing else. torch-staintools can
keep a stain matrix, which is a row of its own.) With ``bakes``, only the baking of tables is measured, and put into the
result that is there.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import stainstream as ss
import stainstream.sources
from stainstream.benchmark.classic import PEERS
from stainstream.benchmark.rows import machine
from stainstream.color.histogram import ColorCounts
from stainstream.color.lut import bake, quantize
from stainstream.color.transition import bake_coarsely
from stainstream.frame import RGB8
from stainstream.normalizers import TABLE
from stainstream.normalizers.conventions import PROFILES
from stainstream.normalizers.macenko import Macenko

SECONDS = float(os.environ.get("SECONDS", "3"))  # for each candidate, in turns
ENOUGH = 3  # times that a slow candidate is run at least
MANY = 200  # frames of a calibration
BAKES = 5  # of each table

Step = Callable[[RGB8], object]


def frames() -> list[RGB8]:
    """The bundled tissue, in tiles of 512x512."""
    image = cv2.imread(str(Path(stainstream.sources.__path__[0]) / "tissue.jpg"))[..., ::-1]
    return [
        np.ascontiguousarray(image[y : y + 512, x : x + 512]) for y in range(0, 2048, 512) for x in range(0, 2048, 512)
    ]


def peers(target: RGB8) -> Iterator[dict[str, Any]]:
    """Rows of the peers; one without a time, but with the reason, for a package that cannot be used here."""
    for package, (profile, make) in PEERS.items():
        try:
            found = list(make(target))
        except Exception as error:  # noqa: BLE001 - whatever another package raises is the row's content
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            yield {"by": package, "method": "", "profile": "", "step": "not measured", "reason": reason}
            continue
        for name, method, fit, normalize in found:
            about = {"by": name, "method": method, "profile": profile}
            yield about | {"step": "fit", "run": fit}
            yield about | {"step": "normalize", "run": normalize}


def candidates(tiles: list[RGB8]) -> list[dict[str, Any]]:
    """Rows to fill: what each candidate does with a frame."""
    rows = list(peers(tiles[0]))
    for plugin in TABLE:
        for profile, settings in PROFILES.items():
            kind, about = plugin.load(), {"by": "stainstream", "method": plugin.name, "profile": profile}
            rows.append(about | {"step": "fit", "run": lambda x, k=kind, s=settings: k.study(x, s)})
        loaded = ss.load(plugin.load().fit(tiles[1], target=quantize((tiles[0] / 255.0) ** [0.6, 0.8, 0.9])))
        rows.append(
            about | {"profile": "any", "step": "normalize", "run": loaded, "engine": type(loaded.engine).__name__}
        )
    return rows


def ratios(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """For each method and step, how many times the frames a second of the fastest peer ours makes.

    ``best``: each in the way that is best for it, one frame after the other or a thread for every core.
    """
    steps = {"fit": ["fit"], "normalize": ["normalize"], "stream": ["stream"], "best": ["normalize", "stream"]}
    found: dict[str, dict[str, Any]] = {}
    for method, step in product(("reinhard", "macenko", "vahadane"), steps):
        timed = [row for row in rows if row["method"] == method and row["step"] in steps[step] and "fps" in row]
        ours, theirs = (
            max(
                (row for row in timed if (row["by"] == "stainstream") is mine), key=lambda row: row["fps"], default=None
            )
            for mine in (True, False)
        )
        if ours and theirs:
            ratio = round(float(ours["fps"] / theirs["fps"]), 1)
            found[f"{method}, {step}"] = {"fastest peer": theirs["by"], "its fps": theirs["fps"], "times": ratio}
    return found


def streamed(run: Step, tiles: list[RGB8]) -> float:
    """Frames a second when every core has a thread that normalizes frames of its own."""
    cores = os.cpu_count() or 1
    until = time.perf_counter() + SECONDS / 3

    def work(first: int) -> int:
        done = 0
        while time.perf_counter() < until or not done:
            run(tiles[(first + done) % len(tiles)])
            done += 1
        return done

    start = time.perf_counter()
    with ThreadPoolExecutor(cores) as pool:
        frames = sum(pool.map(work, range(cores)))
    return frames / (time.perf_counter() - start)


def streams(rows: list[dict[str, Any]], tiles: list[RGB8]) -> list[dict[str, Any]]:
    """A row for the stream of each that normalizes: the median of three turns."""
    able = [row for row in rows if row["step"] == "normalize"]
    turns = [[streamed(row["run"], tiles) for row in able] for _ in range(3)]
    return [
        {key: value for key, value in row.items() if key != "run"}
        | {"step": "stream", "fps": round(float(np.median(fps)), 1), "threads": os.cpu_count()}
        for row, fps in zip(able, zip(*turns, strict=True), strict=True)
    ]


def take_turns(rows: list[dict[str, Any]], tiles: list[RGB8]) -> None:
    """Run every candidate in short bursts until each has had its time; fill in medians and quartiles."""
    rows = [row for row in rows if "run" in row]
    times: list[list[float]] = [[] for _ in rows]
    while min(map(sum, times)) < SECONDS:
        for row, taken in zip(rows, times, strict=True):
            if sum(taken) > SECONDS and len(taken) > ENOUGH:
                continue  # slow ones shall not be run as often as the quick ones' rounds ask for
            until = time.perf_counter() + SECONDS / 10
            while time.perf_counter() < until or not taken:
                start = time.perf_counter()
                row["run"](tiles[len(taken) % len(tiles)])
                taken.append(time.perf_counter() - start)
    for row, taken in zip(rows, times, strict=True):
        del row["run"]
        low, middle, high = np.percentile(taken[1:] or taken, (25, 50, 75)) * 1e3
        row |= {
            "ms_median": round(float(middle), 4),
            "ms_q1": round(float(low), 4),
            "ms_q3": round(float(high), 4),
            "fps": round(1e3 / float(middle), 1),
        }


def once(tiles: list[RGB8]) -> dict[str, float]:
    """What happens once: seconds."""
    rng = np.random.default_rng(0)
    many = [
        np.clip(tiles[k % len(tiles)] + rng.integers(-2, 3, tiles[0].shape), 0, 255).astype(np.uint8)
        for k in range(MANY)
    ]
    start = time.perf_counter()
    Macenko.study(ColorCounts.gather(many), PROFILES["torchstain"])
    return {f"macenko_fit_{MANY}_frames_s": round(time.perf_counter() - start, 3)}


def bakes(tiles: list[RGB8]) -> list[dict[str, Any]]:
    """Seconds that a table takes, coarse or exact, on one thread and on all: the best of several, in turns."""
    target = quantize((tiles[0] / 255.0) ** [0.6, 0.8, 0.9])
    rows: list[dict[str, Any]] = []
    for profile, plugin in product(PROFILES, TABLE):
        fitted = plugin.load().fit(tiles[1], target, profile)
        about = {"method": plugin.name, "profile": profile}
        rows.append(about | {"step": "coarse bake", "threads": 1, "run": partial(bake_coarsely, fitted)})
        rows.extend(
            about | {"step": "bake", "threads": threads, "run": partial(bake, fitted, threads=threads)}
            for threads in (1, os.cpu_count() or 1)
        )
    for _ in range(BAKES):
        for row in rows:
            start, busy = time.perf_counter(), time.process_time()
            row["run"](name=row["method"], rounding=PROFILES[row["profile"]].rounding)
            took = {"s": time.perf_counter() - start, "processor_s": time.process_time() - busy}
            row |= {key: round(min(each, row.get(key, each)), 3) for key, each in took.items()}
    return [{key: value for key, value in row.items() if key != "run"} for row in rows]


def main(file: Path, *, only_bakes: bool) -> None:
    """Measure, print and write."""
    tiles = frames()
    content = json.loads(file.read_text(encoding="utf-8")) if only_bakes else measured(tiles)
    content["bakes"] = {"machine": machine(), "rows": bakes(tiles)}
    for row in content["bakes"]["rows"]:
        took = f"{row['s']} s, {row['processor_s']} s of processors"
        print(row["step"], row["method"], row["profile"], f"{row['threads']} threads", took, sep="\t")
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def measured(tiles: list[RGB8]) -> dict[str, Any]:
    """All but the bakes."""
    rows = candidates(tiles)
    parallel = streams(rows, tiles)
    take_turns(rows, tiles)
    rows += parallel
    results = once(tiles)
    for row in sorted(rows, key=lambda row: (row["step"], row["method"], -row.get("fps", 0.0))):
        said = f"{row['fps']} frames/s" if "fps" in row else row["reason"]
        print(row["step"], row["method"], row["by"], row["profile"], said, sep="\t")
    print(results, ratios(rows), sep="\n")
    return {"machine": machine(), "input": "tissue, 512x512", "once": results, "ratios": ratios(rows), "rows": rows}


if __name__ == "__main__":
    main(Path(sys.argv[1]), only_bakes="bakes" in sys.argv[2:])
