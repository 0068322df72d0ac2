"""Kill a scanner, a runtime and a consumer over and over during one acknowledged series.

``python -m benchmarks.kills RESULT.json [KILLS [TILES [SEED]]]``: by default 100 times each, of 20,000 tiles. What the
consumer wrote down is compared with what it must be, line by line: place, order and a hash of the normalized pixels.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path

import stainstream as ss
from stainstream.benchmark.rows import machine
from tests.feed.parties import ordeal, tile


def main(file: Path, kills: int = 100, tiles: int = 20_000, seed: int = 1) -> None:
    """Run it, check it and write it down."""
    with ss.load("default", engine="lut_numpy") as normalize, tempfile.TemporaryDirectory(prefix="ss") as folder:
        result = ordeal(Path(folder), tiles, kills, seed, limit_s=3600)
        record = (Path(folder) / "record").read_text().splitlines()
        expected = [f"{seq:08d} {hashlib.sha256(normalize(tile(seq)).tobytes()).hexdigest()}" for seq in range(tiles)]
    places = [line.split()[0] for line in record]
    result |= {
        "seed": seed,
        "lines": len(record),
        "lost": len(set(range(tiles)) - {int(place) for place in places}),
        "doubled": len(places) - len(set(places)),
        "in_order": places == sorted(places),
        "contents_as_expected": record == expected,
    }
    file.write_text(json.dumps({"machine": machine(), "results": result}, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
