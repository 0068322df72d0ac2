"""A scanner, a runtime and a consumer, each a process that can be killed: ``python -m tests.feed.parties ...``."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from stainstream.feed import Publisher, Subscriber, Tile

SIDE = 16
SERIES = "slide-1"


def tile(seq: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """What a scanner sees at a place: other pixels at each."""
    return np.random.default_rng(seq).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def _say(*what: object) -> None:
    sys.stdout.write(" ".join(map(str, what)) + "\n")


def scan(address: str, journal: str, tiles: int) -> None:
    """Send a series, going on where the journal says."""
    with Publisher(address, journal=journal) as publisher:
        series = publisher.begin(SERIES)
        while series.next < tiles and not series.ended:
            series.send(tile(series.next))
        counts = series.end()
    _say(counts.tiles, counts.accepted, sum(counts.rejected.values()), counts.balanced)


def consume(address: str, record: str) -> None:
    """Write one line a tile, the only memory of what was accepted."""
    lines = Path(record).read_bytes().splitlines() if Path(record).exists() else []
    after = {SERIES: int(lines[-1].split()[0])} if lines else {}
    opened = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with Subscriber(address, name="archive", after=after) as subscriber:
        for item in subscriber:
            if isinstance(item, Tile):
                os.write(opened, b"%08d %s\n" % (item.sequence, hashlib.sha256(item.payload).hexdigest().encode()))
            else:
                _say(item.counts.tiles, item.counts.accepted, item.counts.balanced)
                subscriber.accept()
                return


@dataclass
class Party:
    """A process that is started anew whenever it was killed."""

    name: str
    command: list[str]
    log: Path
    kills: int = 0
    process: subprocess.Popen[bytes] | None = None
    outcome: list[str] = field(default_factory=list)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=log)

    @property
    def finished(self) -> bool:
        """Whether it came to its own end, without an error."""
        if self.process is None or self.process.poll() is None:
            return False
        if self.process.returncode != 0:
            raise AssertionError(f"{self.name} failed: {self.log.read_text()[-2000:]}")
        return True

    def kill(self) -> None:
        """As kill -9 does; then start it anew."""
        self.end()
        self.kills += 1
        self.start()

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            if self.process.stdout is not None:
                self.process.stdout.close()


def parties(folder: Path, tiles: int, model: str = "default") -> dict[str, Party]:
    """Scanner, runtime and consumer, not yet started."""
    before, behind = f"ipc://{folder}/a", f"ipc://{folder}/b"
    own = [sys.executable, "-m", "tests.feed.parties"]
    run = [sys.executable, "-m", "stainstream", "run", "--model", model, "--engine", "lut_numpy"]
    run += ["--source", f"zmq+{before}?delivery=acknowledged", "--sink", f"zmq+{behind}?delivery=acknowledged"]
    commands = {
        "scanner": [*own, "scan", before, f"{folder}/journal", str(tiles)],
        "runtime": run,
        "consumer": [*own, "consume", behind, f"{folder}/record"],
    }
    return {name: Party(name, command, folder / f"{name}.log") for name, command in commands.items()}


def ordeal(folder: Path, tiles: int, kills: int, seed: int, limit_s: float) -> dict[str, object]:
    """Send a series while each party is killed `kills` times, at random moments; what came of it.

    Raises
    ------
    AssertionError
        If a party fails by itself, or the series does not end in time.
    """
    chance, all_parties = random.Random(seed), parties(folder, tiles)
    began = time.monotonic()
    turns = [name for name in all_parties for _ in range(kills)]
    chance.shuffle(turns)
    record = folder / "record"
    try:
        for party in all_parties.values():
            party.start()
        for turn, name in enumerate(turns):
            # Kills are spread over the series: none before there is progress, none after its end.
            goal = tiles * (turn + chance.random()) / (len(turns) + 1)
            _wait(lambda goal=goal: _lines(record) >= goal, began + limit_s, all_parties)
            time.sleep(chance.uniform(0, 0.02))
            all_parties[name].kill()
        _wait(
            lambda: all_parties["scanner"].finished and all_parties["consumer"].finished, began + limit_s, all_parties
        )
        said = {name: _said(all_parties[name]) for name in ("scanner", "consumer")}
    finally:
        for party in all_parties.values():
            party.end()
    return {
        "tiles": tiles,
        "kills": {name: party.kills for name, party in all_parties.items()},
        "seconds": round(time.monotonic() - began, 1),
        "scanner_says": said["scanner"],
        "consumer_says": said["consumer"],
    }


def _said(party: Party) -> list[str]:
    assert party.process is not None
    assert party.process.stdout is not None
    return party.process.stdout.read().decode().split()


def _lines(record: Path) -> int:
    return record.stat().st_size // 74 if record.exists() else 0


def _wait(done: object, end: float, all_parties: dict[str, Party]) -> None:
    assert callable(done)
    while not done():
        for party in all_parties.values():
            _ = party.finished
        if time.monotonic() > end:
            logs = {name: party.log.read_text()[-800:] for name, party in all_parties.items()}
            raise AssertionError(f"it takes too long: {logs}")
        time.sleep(0.01)


if __name__ == "__main__":
    if sys.argv[1] == "scan":
        scan(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        consume(sys.argv[2], sys.argv[3])
