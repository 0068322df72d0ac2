"""A scanner, a runtime and a consumer for hours: ``python benchmarks/soak.py RESULT.json [HOURS [SIDE [TILES]]]``.

Acknowledged tiles of SIDExSIDE (64) as fast as they go, in series of 10,000; by default for one hour, or until
there were TILES of them: ``RESULT.json 2 16 1000000`` is a million, small ones to save time. Every ten seconds
a line with resident memory (MiB) and open files of the three, and the tiles that the scanner keeps. In the end the
counts of all series and of the runtime must add up.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from stainstream.benchmark.rows import machine
from stainstream.feed import End, Publisher, Subscriber

TILES = 10_000
EVERY_S = 10.0


def scan(address: str, seconds: float, side: int, tiles: int) -> None:
    """Send series until the time is over; say how many tiles are kept."""
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    end, said, sent = time.monotonic() + seconds, 0.0, 0
    with Publisher(address) as publisher:
        while time.monotonic() < end and (not tiles or sent < tiles):
            series = publisher.begin()
            for _ in range(TILES):
                series.send(image, copy=False)
                if time.monotonic() - said > EVERY_S:
                    said = time.monotonic()
                    print(publisher.sender.unsettled, flush=True)
            if not series.end().balanced:
                sys.exit("the scanner's counts do not add up")
            sent += TILES
    print("end", flush=True)


def main(file: Path, hours: float = 1.0, side: int = 64, most: int = 0) -> None:
    """Run it and write it down."""
    samples: list[dict[str, Any]] = []
    tiles = series = unbalanced = 0
    began, due = time.monotonic(), 0.0
    with tempfile.TemporaryDirectory(prefix="ss") as folder:
        a, b, report = f"ipc://{folder}/a", f"ipc://{folder}/b", Path(folder) / "report.json"
        run = [sys.executable, "-m", "stainstream", "run", "--source", f"zmq+{a}?delivery=acknowledged"]
        run += ["--sink", f"zmq+{b}?delivery=acknowledged", "--report", str(report)]
        with (Path(folder) / "depths").open("wb") as depths:
            command = [sys.executable, __file__, "scan", a, str(hours * 3600), str(side), str(most)]
            scanner = psutil.Popen(command, stdout=depths)
        runtime = psutil.Popen(run, stderr=subprocess.DEVNULL)
        parties = {"scanner": scanner, "runtime": runtime, "consumer": psutil.Process()}
        with Subscriber(b, cursor=Path(folder) / "cursor") as subscriber:
            while scanner.poll() is None or subscriber.take(0.0) is not None:
                item = subscriber.take(timeout=0.5)
                subscriber.accept()
                if isinstance(item, End):
                    series, tiles = series + 1, tiles + item.counts.accepted
                    unbalanced += not item.counts.balanced
                if time.monotonic() >= due and scanner.poll() is None:
                    due = time.monotonic() + EVERY_S
                    depth = ((Path(folder) / "depths").read_text().split() or ["0"])[-1]
                    samples.append(_sample(parties, time.monotonic() - began, tiles, depth))
                    print(json.dumps(samples[-1]), flush=True)
        runtime.send_signal(signal.SIGTERM)
        runtime.wait()
        said = json.loads(report.read_text())
    (account,) = said["sinks"].values()
    gone = sum(account["dropped"].values()) + sum(said["rejected"].values())
    settled = samples[len(samples) // 4 :]
    results = {
        "hours": round((time.monotonic() - began) / 3600, 3),
        "tiles": tiles,
        "side": side,
        "mib_more_in_100,000_tiles": {name: _slope(settled, name) for name in parties},
        "series": series,
        "series_whose_counts_do_not_add_up": unbalanced,
        "runtime": {"captured": said["captured"], "delivered": account["delivered"], "dropped_or_rejected": gone},
        "runtime_adds_up": said["captured"] == account["delivered"] + gone + account["under_way"],
        "mib_after_a_quarter": settled[0]["mib"],
        "mib_at_the_end": settled[-1]["mib"],
        "samples": samples,
    }
    file.write_text(json.dumps({"machine": machine(), "results": results}, indent=1) + "\n")
    print(json.dumps({key: value for key, value in results.items() if key != "samples"}, indent=2))


def _slope(samples: list[dict[str, Any]], name: str) -> float | None:
    """By how much memory grows with tiles: a straight line through what was seen."""
    tiles = [each["tiles"] for each in samples]
    if len(set(tiles)) < 2:
        return None
    return round(float(np.polyfit(tiles, [each["mib"][name] for each in samples], 1)[0]) * 1e5, 2)


def _sample(parties: dict[str, psutil.Process], seconds: float, tiles: int, depth: str) -> dict[str, Any]:
    return {
        "s": round(seconds),
        "tiles": tiles,
        "kept": depth,
        "mib": {name: round(each.memory_info().rss / 2**20, 1) for name, each in parties.items()},
        "files": {name: each.num_fds() for name, each in parties.items()},
    }


if __name__ == "__main__":
    if sys.argv[1] == "scan":
        scan(sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
    else:
        main(Path(sys.argv[1]), *map(float, sys.argv[2:3]), *map(int, sys.argv[3:5]))
