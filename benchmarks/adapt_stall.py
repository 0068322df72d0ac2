"""Whether baking tables holds up frames: ``python benchmarks/adapt_stall.py RESULT.json``.

The demo at 30 frames a second, normalized by a fixed table and by statistics that follow it, in turns: latency from
capture to delivery, and how many frames were delivered.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from stainstream.benchmark.rows import machine
from stainstream.live import Live, StreamSettings

SECONDS, TURNS = 10.0, 4
COMMON = {"source": "demo?size=1920x1080&rate=30", "sinks": ("null",), "seconds": SECONDS}
FOLLOWS = {"normalizer": "macenko", "target": "he-camelyon17-centre4", "adapt": 1.0}


def run(**settings: Any) -> dict[str, float]:
    """One turn."""
    with Live(StreamSettings(**COMMON, **settings)) as live:
        report = live.run()
    median, late = report.latency_ms or (0.0, 0.0)
    return {"p50_ms": median, "p99_ms": late, "captured": report.captured, "delivered": report.delivered}


def main() -> None:
    """Measure, print and write."""
    turns = [(run(), run(**FOLLOWS)) for _ in range(TURNS)]
    rows = {}
    for name, each in zip(("fixed", "following"), zip(*turns, strict=True), strict=True):
        rows[name] = {key: round(float(np.median([turn[key] for turn in each])), 2) for key in each[0]}
        print(name, rows[name])
    content = {"machine": machine(), "input": COMMON["source"], "turns": TURNS, "rows": rows}
    Path(sys.argv[1]).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
