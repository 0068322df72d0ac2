"""Whole slides: ``python benchmarks/slides.py RESULT.json [SLIDE ...] [--quick]`` (needs the extras slide and archive).

* ``overhead``: a slide normalized, beside the same one decoded and encoded by the same libraries and threads, in turns.
* ``stages``: decoding, the table and each encoder on tiles of the slide, apart; megapixels a second of all processors.
* ``memory``: the peak of a process that normalizes the first tiles of a pyramid of 100,000 x 100,000, and its pace;
  the paper's later claim (such a slide in 40 s on a GPU, decoding apart) beside what that makes for the whole slide.
* ``workers``: an archive of one slide many times on Dask, by one worker and by two, of one thread each.
* ``bands``: one slide by one worker, undivided and in bands, beside the same in bands by two workers.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile

import stainstream as ss
from stainstream.archive.cluster import cluster, work
from stainstream.archive.run import plan
from stainstream.archive.slide import Rendering, SlideOptions
from stainstream.benchmark.rows import machine
from stainstream.slides import WRITERS
from stainstream.slides.encoding import encoder
from stainstream.slides.opening import open_slide

SIDE, TILE, DISTINCT = 100_000, 512, 64
BANDED_SIDE, BAND_ROWS = 25_600, 4
PAPER_S = 40.0
OUTPUTS = {"ome.tiff": "jpeg", "svs": "jpeg2000", "ome.zarr": "zstd", "tiff": "deflate"}
CORES = os.cpu_count() or 1


def quartiles(seconds: list[float]) -> dict[str, float]:
    """First quartile, median, third."""
    low, middle, high = np.percentile(seconds, (25, 50, 75))
    return {"s_q1": round(float(low), 4), "s_median": round(float(middle), 4), "s_q3": round(float(high), 4)}


def render(slide: Path, target: Path, normalize: ss.Normalizer | None, options: SlideOptions) -> float:
    """Seconds that one slide takes."""
    began = time.perf_counter()
    Rendering(slide, target, normalize, options).run()
    return time.perf_counter() - began


def overhead(slide: Path, folder: Path, normalize: ss.Normalizer, rounds: int) -> list[dict[str, Any]]:
    """Normalizing beside copying, for every kind of output."""
    rows = []
    for kind, compression in OUTPUTS.items():
        options, target = SlideOptions(compression=compression), folder / f"out.{kind}"
        taken: dict[str, list[float]] = {"copy": [], "normalize": []}
        for turn in range(rounds + 1):
            order = [("copy", None), ("normalize", normalize)]
            for name, what in order if turn % 2 else reversed(order):
                taken[name].append(render(slide, target, what, options))
        times = {name: quartiles(each[1:]) for name, each in taken.items()}
        ratio = float(np.median(np.array(taken["normalize"][1:]) / np.array(taken["copy"][1:])))
        rows.append({"slide": slide.name, "output": kind, "compression": compression, "threads": CORES, **times,
                     "normalize_over_copy": round(ratio, 4), "rounds": rounds})  # fmt: skip
        print(json.dumps(rows[-1]), flush=True)
    return rows


def stages(slide: Path, normalize: ss.Normalizer, most: int) -> dict[str, Any]:
    """Each stage on its own, on as many threads as there are processors; megapixels a second."""
    with open_slide(slide) as opened, ThreadPoolExecutor(CORES) as pool:
        about = opened.about
        places = [
            (x, y) for y in range(0, about.height - TILE + 1, TILE) for x in range(0, about.width - TILE + 1, TILE)
        ][:most]

        def pace(call: Callable[[Any], object], items: list[Any]) -> float:
            began = time.perf_counter()
            list(pool.map(call, items))
            return round(len(items) * TILE * TILE / 1e6 / (time.perf_counter() - began), 1)

        found: dict[str, Any] = {"slide": slide.name, "tiles": len(places), "threads": CORES}
        found["decode_mpx_s"] = pace(lambda place: opened.read(*place, TILE, TILE), places)
        tiles = [opened.read(*place, TILE, TILE) for place in places]
        found["table_mpx_s"] = pace(normalize, tiles)
        done = [normalize(tile) for tile in tiles]
        for kind, compression in OUTPUTS.items():
            writer = WRITERS[kind].load()
            encode = encoder(writer.encoding_for(compression, 0, kind), predict=writer.predicts)
            found[f"encode_{compression}_mpx_s"] = pace(encode, done)
    print(json.dumps(found), flush=True)
    return found


def pyramid(path: Path, slide: Path, side: int = SIDE) -> None:
    """A slide of any size in a few MB: its JPEG tiles are 64 of another slide's, again and again."""
    with open_slide(slide) as opened:
        across, down = opened.about.width // TILE, opened.about.height // TILE
        places = [(x * TILE, y * TILE) for y in range(down) for x in range(across)]
        tiles = [opened.read(*place, TILE, TILE) for place in itertools.islice(itertools.cycle(places), DISTINCT)]
    data = [imagecodecs.jpeg8_encode(tile, level=80, outcolorspace="ycbcr", subsampling="420") for tile in tiles]
    sizes = []
    while side > TILE:
        sizes.append(side)
        side //= 2
    tags = {"dtype": np.uint8, "tile": (TILE, TILE), "compression": "jpeg", "photometric": "ycbcr", "metadata": None}

    def nothing(count: int) -> Iterator[bytes]:
        return itertools.repeat(b"\0", count)

    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for level, side in enumerate(sizes):
            count = (-(-side // TILE)) ** 2
            file.write(nothing(count), shape=(side, side, 3), subsampling=(2, 2), subfiletype=int(level > 0), **tags)
    offsets = []
    with path.open("ab") as end:
        for each in data:
            offsets.append(end.tell())
            end.write(each)
    with tifffile.TiffFile(path, mode="r+b") as file:
        for page in file.pages:
            count = len(page.dataoffsets)
            which = (np.arange(count) * 7) % DISTINCT
            page.tags[324].overwrite([offsets[k] for k in which])
            page.tags[325].overwrite([len(data[k]) for k in which])


PART = """
import json, resource, sys, time
from pathlib import Path
import stainstream as ss
from stainstream.archive.slide import Rendering, SlideOptions
most = int(sys.argv[3])
with ss.load("default", threads=1) as normalize:
    rendering = Rendering(Path(sys.argv[1]), Path(sys.argv[2]), normalize, SlideOptions(tile=512))
    began = time.perf_counter()
    rendering.run(lambda now: now.stop() if now.done >= most else None)
    took = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"tiles": rendering.done, "of": rendering.tiles, "s": round(took, 2), "peak_mib": round(peak, 1)}))
"""


def memory(slide: Path, folder: Path, tiles: int) -> list[dict[str, Any]]:
    """Peak memory and pace on the first tiles of the large pyramid."""
    large = folder / "large.tif"
    pyramid(large, slide)
    rows = []
    for kind in ("ome.tiff", "ome.zarr"):
        command = [sys.executable, "-c", PART, str(large), str(folder / f"large-out.{kind}"), str(tiles)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        row = {"output": kind, "side": SIDE, "file_mb": round(large.stat().st_size / 1e6, 1), **json.loads(done.stdout)}
        row["whole_slide_s_at_this_pace"] = round(row["s"] / row["tiles"] * row["of"], 1)
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def claim(rows: list[dict[str, Any]], parts: dict[str, Any]) -> dict[str, Any]:
    """The paper's later claim beside what was measured here; whole slides are computed from a part."""
    megapixels = SIDE * SIDE / 1e6
    return {
        "paper": f"100,000 x 100,000 in {PAPER_S:g} s on a GPU",
        "here": f"{CORES} processors, no GPU; computed from the paces of a part",
        "table_alone_s": round(megapixels / parts["table_mpx_s"], 1),
        "decode_alone_s": round(megapixels / parts["decode_mpx_s"], 1),
        "encode_jpeg_alone_s": round(megapixels / parts["encode_jpeg_mpx_s"], 1),
        "all_of_it_s": rows[0]["whole_slide_s_at_this_pace"],
        "table_over_paper": round(megapixels / parts["table_mpx_s"] / PAPER_S, 3),
    }


def workers(slide: Path, folder: Path, copies: int, rounds: int) -> dict[str, Any]:
    """Seconds for an archive, by one worker and by two; the first slide of each, which loads the model, apart."""
    archive = folder / "archive"
    archive.mkdir()
    for k in range(copies):
        (archive / f"{k}{slide.suffix}").symlink_to(slide.resolve())
    taken: dict[int, list[float]] = {1: [], 2: []}
    for turn, count in itertools.product(range(rounds), (1, 2)):
        jobs = plan(str(archive), str(folder / f"done-{turn}-{count}"), "ome.tiff", SlideOptions())
        with cluster("local", count) as client:
            client.wait_for_workers(count, timeout=120)
            list(work(client, jobs[:count], "default", "auto"))
            began = time.perf_counter()
            ended = list(work(client, jobs, "default", "auto"))
            taken[count].append(time.perf_counter() - began)
        assert all(record.status == "complete" for record in ended)
    ratio = float(np.median(taken[1]) / np.median(taken[2]))
    found = {"slide": slide.name, "slides": copies, "one": quartiles(taken[1]), "two": quartiles(taken[2]),
             "two_over_one": round(ratio, 3)}  # fmt: skip
    print(json.dumps(found), flush=True)
    return found


def bands(slide: Path, folder: Path, side: int, rounds: int) -> dict[str, Any]:
    """Seconds for one slide: undivided by one worker, in bands by one and by two, which hold the model already."""
    archive = folder / "large"
    archive.mkdir()
    large = archive / "large.tif"
    pyramid(large, slide, side)
    ways = {"one_undivided": (1, 0), "one_in_bands": (1, BAND_ROWS), "two_in_bands": (2, BAND_ROWS)}
    taken: dict[str, list[float]] = {way: [] for way in ways}
    digests = set()
    for turn, (way, (count, rows)) in itertools.product(range(rounds), ways.items()):
        out = folder / f"banded-{turn}-{way}"
        warm = plan(str(slide), str(out / "warm"), "ome.tiff", SlideOptions(), band_rows=1)
        jobs = plan(str(archive), str(out), "ome.tiff", SlideOptions(), band_rows=rows)
        with cluster("local", count) as client:
            client.wait_for_workers(count, timeout=120)
            list(work(client, warm, "default", "auto"))
            began = time.perf_counter()
            (record,) = work(client, jobs, "default", "auto")
            taken[way].append(time.perf_counter() - began)
        assert record.status == "complete", record.error
        digests.add(record.digest_out)
        shutil.rmtree(out)
    assert len(digests) == 1
    median = {way: float(np.median(each)) for way, each in taken.items()}
    found = {"side": side, "tiles": record.tiles, "rows_a_band": BAND_ROWS, "rounds": rounds,
             **{way: quartiles(each) for way, each in taken.items()},
             "bands_over_undivided": round(median["one_in_bands"] / median["one_undivided"], 3),
             "two_over_one_undivided": round(median["one_undivided"] / median["two_in_bands"], 3)}  # fmt: skip
    print(json.dumps(found), flush=True)
    return found


def main(file: Path, slides: list[Path], *, quick: bool) -> None:
    """Measure everything, one thing after another."""
    rounds, tiles, copies = (1, 400, 2) if quick else (9, 3000, 36)
    versions = ("openslide-python", "openslide-bin", "tifffile", "imagecodecs", "zarr", "distributed")
    result: dict[str, Any] = {"machine": machine(), "load": os.getloadavg(), "quick": quick}
    result["machine"]["versions"] |= {name: metadata.version(name) for name in versions}
    with tempfile.TemporaryDirectory() as name, ss.load("default", threads=1) as normalize:
        folder = Path(name)
        result["overhead"] = [row for slide in slides for row in overhead(slide, folder, normalize, rounds)]
        result["stages"] = [stages(slide, normalize, 60) for slide in slides]
        result["memory"] = memory(slides[0], folder, tiles)
        result["claim"] = claim(result["memory"], result["stages"][0])
        result["workers"] = workers(slides[0], folder, copies, 1 if quick else 3)
        result["bands"] = bands(slides[0], folder, BANDED_SIDE // 4 if quick else BANDED_SIDE, 1 if quick else 3)
    result["load_after"] = os.getloadavg()
    file.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("slides", type=Path, nargs="*", help="the first is taken for memory and workers")
    parser.add_argument("--quick", action="store_true", help="try the script itself")
    given = parser.parse_args()
    known = Path(__file__).resolve().parents[2] / "shared" / "data" / "slides"
    main(given.file, given.slides or sorted(known.glob("*.svs")), quick=given.quick)
