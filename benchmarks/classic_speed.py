"""Speed of the classic methods beside their peers: ``python benchmarks/classic_speed.py RESULT.json``.

Fitting one frame of 512x512, and normalizing a stream of them once fitted; peers that are installed run in turns with
ours, on the same tissue and cores. torchstain: ``pip install torchstain``; StainTools: ``pip install --no-deps
staintools spams-bin``. (A peer's normalizing fits its source again in every frame: its interface offers nothing else.)
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import stainstream as ss
import stainstream.sources
from stainstream.benchmark.rows import machine
from stainstream.color.histogram import ColorCounts
from stainstream.color.lut import bake, quantize
from stainstream.frame import RGB8
from stainstream.normalizers import TABLE
from stainstream.normalizers.conventions import PROFILES
from stainstream.normalizers.macenko import Macenko

SECONDS = 3.0  # for each candidate, in turns
MANY = 200  # frames of a calibration

Step = Callable[[RGB8], object]


def frames() -> list[RGB8]:
    """The bundled tissue, in tiles of 512x512."""
    image = cv2.imread(str(Path(stainstream.sources.__path__[0]) / "tissue.jpg"))[..., ::-1]
    return [
        np.ascontiguousarray(image[y : y + 512, x : x + 512]) for y in range(0, 2048, 512) for x in range(0, 2048, 512)
    ]


def torchstain_peers(target: RGB8) -> Iterator[tuple[str, str, Step, Step]]:
    """Peer, method, and how it fits and normalizes a frame."""
    import torch
    from torchstain import normalizers

    def tensor(image: RGB8) -> Any:
        return torch.from_numpy(image).permute(2, 0, 1).contiguous()

    for backend, given in (("numpy", np.asarray), ("torch", tensor)):
        macenko, reinhard = (
            make(backend=backend) for make in (normalizers.MacenkoNormalizer, normalizers.ReinhardNormalizer)
        )
        for each in (macenko, reinhard):
            each.fit(given(target))
        name = f"torchstain {backend}"
        yield (
            name,
            "macenko",
            lambda x, m=macenko, g=given: m.fit(g(x)),
            lambda x, m=macenko, g=given: m.normalize(g(x), stains=False),
        )
        yield (
            name,
            "reinhard",
            lambda x, r=reinhard, g=given: r.fit(g(x)),
            lambda x, r=reinhard, g=given: r.normalize(g(x)),
        )


def staintools_peers(target: RGB8) -> Iterator[tuple[str, str, Step, Step]]:
    """As above."""
    import staintools

    made = {name: staintools.StainNormalizer(name) for name in ("macenko", "vahadane")}
    for name, each in ({"reinhard": staintools.ReinhardColorNormalizer()} | made).items():
        each.fit(target.copy())
        yield "staintools", name, lambda x, e=each: e.fit(x.copy()), lambda x, e=each: e.transform(x.copy())


def candidates(tiles: list[RGB8]) -> list[dict[str, Any]]:
    """Rows to fill: what each candidate does with a frame."""
    rows: list[dict[str, Any]] = []
    peers = {"torchstain": torchstain_peers, "staintools": staintools_peers}
    for package, make in peers.items():
        if find_spec(package) is not None:
            for name, method, fit, normalize in make(tiles[0]):
                about = {"by": name, "method": method, "profile": package}
                rows += [about | {"step": "fit", "run": fit}, about | {"step": "normalize", "run": normalize}]
    for plugin in TABLE:
        for profile, settings in PROFILES.items():
            kind, about = plugin.load(), {"by": "stainstream", "method": plugin.name, "profile": profile}
            rows.append(about | {"step": "fit", "run": lambda x, k=kind, s=settings: k.study(x, s)})
        loaded = ss.load(plugin.load().fit(tiles[1], target=quantize((tiles[0] / 255.0) ** [0.6, 0.8, 0.9])))
        rows.append(
            about | {"profile": "any", "step": "normalize", "run": loaded, "engine": type(loaded.engine).__name__}
        )
    return rows


def take_turns(rows: list[dict[str, Any]], tiles: list[RGB8]) -> None:
    """Run every candidate in short bursts until each has had its time; fill in medians and quartiles."""
    times: list[list[float]] = [[] for _ in rows]
    while min(map(sum, times)) < SECONDS:
        for row, taken in zip(rows, times, strict=True):
            until = time.perf_counter() + SECONDS / 10
            while time.perf_counter() < until or not taken:
                start = time.perf_counter()
                row["run"](tiles[len(taken) % len(tiles)])
                taken.append(time.perf_counter() - start)
    for row, taken in zip(rows, times, strict=True):
        del row["run"]
        low, middle, high = np.percentile(taken[1:] or taken, (25, 50, 75)) * 1e3
        row |= {
            "ms_median": round(middle, 4),
            "ms_q1": round(low, 4),
            "ms_q3": round(high, 4),
            "fps": round(1e3 / middle, 1),
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
    results = {f"macenko_fit_{MANY}_frames_s": round(time.perf_counter() - start, 3)}
    for plugin in TABLE:
        fitted = plugin.load().fit(tiles[1], target=tiles[0] // 2 + 100)
        start = time.perf_counter()
        bake(fitted, fitted.name, fitted.rounding)
        results[f"{plugin.name}_bake_s"] = round(time.perf_counter() - start, 3)
    return results


def main() -> None:
    """Measure, print and write."""
    tiles = frames()
    rows = candidates(tiles)
    take_turns(rows, tiles)
    results = once(tiles)
    for row in sorted(rows, key=lambda row: (row["step"], row["method"], row["ms_median"])):
        print(row["step"], row["method"], row["by"], row["profile"], f"{row['ms_median']} ms", sep="\t")
    print(results)
    content = {"machine": machine(), "input": "tissue, 512x512", "once": results, "rows": rows}
    Path(sys.argv[1]).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
