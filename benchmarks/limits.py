"""Start-up times and resident memory of whole processes: ``python benchmarks/limits.py RESULT.json``.

Each command runs five times after a warm-up; times are medians in seconds, memory is in MiB.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from stainstream.benchmark.rows import machine

STAINSTREAM = [sys.executable, "-m", "stainstream"]
FRAMES = 100_000


def seconds(command: list[str], runs: int = 5) -> float:
    """Median wall time of a command, after one warm-up."""
    taken = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        taken.append(time.perf_counter() - start)
    return round(float(np.median(taken[1:])), 3)


def bake() -> dict[str, float]:
    """Time and memory of the first load of the default model, with an empty cache and none of numba's."""
    code = """
import resource, time
start = time.perf_counter()
import stainstream as ss
from stainstream.api import artifact
from stainstream.model import find
made = artifact(find("default"))
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
    results: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for what in ("cold", "warm"):
            environment = {**os.environ, "STAINSTREAM_CACHE": folder}
            done = subprocess.run(
                [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
            )
            took, memory = map(float, done.stdout.split())
            results |= {f"table_{what}_s": round(took, 3), f"table_{what}_peak_mib": round(memory, 1)}
    return results


def resident(arguments: list[str], every_s: float) -> list[float]:
    """Resident memory of a run, sampled until it ends."""
    process = psutil.Popen([*STAINSTREAM, "run", *arguments], stderr=subprocess.DEVNULL)
    samples = []
    while process.poll() is None:
        time.sleep(every_s)
        try:
            samples.append(process.memory_info().rss / 2**20)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            break
    return [round(sample, 1) for sample in samples]


def main(file: Path) -> None:
    """Measure all and write it down."""
    results: dict[str, object] = {
        "help_s": seconds([*STAINSTREAM, "--help"]),
        "import_s": seconds([sys.executable, "-c", "import stainstream"]),
        "bare_python_s": seconds([sys.executable, "-c", "pass"]),
        "first_frame_s": seconds([*STAINSTREAM, "run", "--source", "demo", "--frames", "1", "--sink", "null"]),
        **bake(),
    }
    large = resident(["--source", "demo?size=4K&rate=30", "--seconds", "20", "--sink", "null"], 0.25)
    results["peak_4k_mib"] = max(large)
    source = f"demo?size=512x512&rate=0&frames={FRAMES}"
    flat = resident(["--source", source, "--policy", "lossless", "--sink", "null"], 1.0)
    settled = flat[len(flat) // 4 :]
    results |= {"frames": FRAMES, "mib_after_a_quarter": settled[0], "mib_at_the_end": settled[-2]}
    file.write_text(json.dumps({"machine": machine(), "results": results}, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
