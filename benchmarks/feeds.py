"""How fast feeds are, each beside its alternative: ``python benchmarks/feeds.py RESULT.json [SECONDS [TURNS]]``.

Tiles of 512x512 RGB8, tissue. ``hop``: a sender and a receiver, two processes. ``chain``: sender -> ``stainstream run``
with the default model -> receiver, three processes. Candidates take turns. ``latency``: from the send to the receiver's
hands, of a chain at 200 tiles a second. ``age``: of the frame that a receiver which needs 50 ms for each has in hand,
of a feed of 60 a second.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from stainstream.benchmark.rows import machine

SIDE = 512
HWM = 4


def pixels() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A tile of tissue."""
    from stainstream.api import open_source

    with open_source(f"demo?size={SIDE}x{SIDE}&rate=0") as source:
        return np.ascontiguousarray(next(iter(source)).image)


def send(kind: str, address: str, rate: float) -> None:
    """Send the same tile for ever, each with its time (a process of its own)."""
    from stainstream.frame import Frame, PixelFormat
    from stainstream.stream.memory import keep_large_blocks

    keep_large_blocks()
    image = pixels()
    give: Callable[[int], None]
    if kind == "bare":
        socket = zmq.Context().socket(zmq.PUSH)
        socket.set_hwm(HWM)
        socket.bind(address)
        give = lambda _: socket.send_multipart([b"%d" % time.monotonic_ns(), image.data], copy=False)  # noqa: E731
    elif kind == "acknowledged":
        from stainstream.feed import Publisher

        publisher = Publisher(address)
        publisher.open()
        series = publisher.begin()
        give = lambda _: series.send(image, meta={"sent_ns": time.monotonic_ns()}, copy=False)  # type: ignore[assignment, return-value]  # noqa: E731
    else:
        from stainstream.api import open_sink

        sink = open_sink(address)
        sink.open()
        give = lambda seq: sink.write(  # noqa: E731
            Frame(image, PixelFormat.RGB8, seq, time.monotonic_ns(), {"sent_ns": time.monotonic_ns()})
        )
    due, seq = time.monotonic(), 0
    while True:
        if rate:
            due += 1 / rate
            time.sleep(max(0.0, due - time.monotonic()))
        give(seq)
        seq += 1


def ages(kind: str, address: str, seconds: float, busy_s: float = 0.0) -> tuple[float, list[float]]:
    """Tiles a second that arrive, and the age of each in ms."""
    taken: list[float] = []
    start = end = 0.0
    for sent_ns in _arriving(kind, address):
        now = time.monotonic()
        if not end:
            start = now + 1.0  # warm-up
            end = start + seconds
        if now > end:
            break
        if now > start:
            taken.append(now * 1e3 - sent_ns / 1e6)
        if busy_s:
            time.sleep(busy_s)
    return len(taken) / (now - start), taken


def _arriving(kind: str, address: str) -> Any:
    if kind in ("bare", "subscribed"):
        context = zmq.Context()
        socket = context.socket(zmq.PULL if kind == "bare" else zmq.SUB)
        if kind == "bare":
            socket.set_hwm(HWM)
        else:
            socket.subscribe(b"")
        socket.rcvtimeo, socket.linger = 60_000, 0
        socket.connect(address)
        try:
            while True:
                parts = socket.recv_multipart(copy=False)
                yield int(parts[0].bytes) if kind == "bare" else json.loads(parts[1].bytes)["sent_ns"]
        finally:
            socket.close()
            context.term()
    elif kind in ("acknowledged", "viewer"):
        from stainstream.feed import Subscriber, Viewer

        with (Subscriber if kind == "acknowledged" else Viewer)(address) as feed:
            for item in feed:
                yield item.header["sent_ns"]  # type: ignore[union-attr]
    else:
        from stainstream.api import open_source

        with open_source(address) as source:
            for frame in source:
                yield frame.meta["sent_ns"]


def turn(
    sender: tuple[str, str],
    chain: list[str],
    receiver: tuple[str, str],
    rate: float,
    seconds: float,
    busy_s: float = 0.0,
):  # type: ignore[no-untyped-def]
    """One measurement with processes of its own."""
    commands = [[sys.executable, __file__, "send", *sender, str(rate)]]
    if chain:
        commands.append([sys.executable, "-m", "stainstream", "run", "--threads", "1", *chain])
    processes = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for command in commands]
    try:
        return ages(*receiver, seconds, busy_s)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def main(file: Path, seconds: float = 5.0, turns: int = 5) -> None:
    """Measure all and write it down."""
    name = f"bench-{time.time_ns()}"
    with tempfile.TemporaryDirectory(prefix="ss") as folder:
        a, b = f"ipc://{folder}/a", f"ipc://{folder}/b"
        lossless, shm = "delivery=lossless", f"shm://{name}"
        hops = {
            "bare pyzmq, ipc": (("bare", a), [], ("bare", a)),
            "lossless, ipc": (("sink", f"zmq+{a}?{lossless}"), [], ("source", f"zmq+{a}?{lossless}")),
            "acknowledged, ipc": (("acknowledged", a), [], ("acknowledged", a)),
            "lossless, shm": (("sink", f"{shm}?{lossless}"), [], ("source", f"{shm}?{lossless}")),
        }
        run = ["--policy", "lossless"]
        chains = {
            "lossless, ipc": (
                ("sink", f"zmq+{a}?{lossless}"),
                [*run, "--source", f"zmq+{a}?{lossless}", "--sink", f"zmq+{b}?{lossless}"],
                ("source", f"zmq+{b}?{lossless}"),
            ),
            "acknowledged, ipc": (
                ("acknowledged", a),
                ["--source", f"zmq+{a}?delivery=acknowledged", "--sink", f"zmq+{b}?delivery=acknowledged"],
                ("acknowledged", b),
            ),
            "lossless, shm": (
                ("sink", f"{shm}-a?{lossless}"),
                [*run, "--source", f"{shm}-a?{lossless}", "--sink", f"{shm}-b?{lossless}"],
                ("source", f"{shm}-b?{lossless}"),
            ),
        }
        rates: dict[str, dict[str, list[float]]] = {"hop": {}, "chain": {}}
        for _ in range(turns):
            for bench, candidates in (("hop", hops), ("chain", chains)):
                for each, plan in candidates.items():
                    rates[bench].setdefault(each, []).append(turn(*plan, 0, seconds)[0])
                    print(bench, each, round(rates[bench][each][-1]), flush=True)
        fps = {
            bench: {each: round(float(np.median(taken)), 1) for each, taken in row.items()}
            for bench, row in rates.items()
        }
        latency, age = {}, {}
        for each, plan in chains.items():
            latency[each] = percentiles(turn(*plan, 200, 2 * seconds)[1])
        live = f"zmq+{a}?delivery=live"
        plans = {
            "live": (("sink", live), ("viewer", a)),
            "plain PUB/SUB": (("sink", f"zmq+{a}?pattern=pub&hwm=1000&announce=0"), ("subscribed", a)),
        }
        for each, (sender, receiver) in plans.items():
            age[each] = percentiles(turn(sender, [], receiver, 60, 2 * seconds, 0.05)[1])
    ratios = {
        "shm over ipc, hop": ratio(fps["hop"], "lossless, shm", "lossless, ipc"),
        "shm over ipc, chain": ratio(fps["chain"], "lossless, shm", "lossless, ipc"),
        "ipc over bare pyzmq, hop": ratio(fps["hop"], "lossless, ipc", "bare pyzmq, ipc"),
        "acknowledged over lossless, hop": ratio(fps["hop"], "acknowledged, ipc", "lossless, ipc"),
        "acknowledged over lossless, chain": ratio(fps["chain"], "acknowledged, ipc", "lossless, ipc"),
    }
    results = {"seconds": seconds, "turns": turns, "fps": fps, "ratios": ratios, "latency_ms": latency, "age_ms": age}
    file.write_text(json.dumps({"machine": machine(), "results": results}, indent=2) + "\n")
    print(json.dumps(results, indent=2))


def ratio(fps: dict[str, float], one: str, other: str) -> float:
    """How many times as fast one is."""
    return round(fps[one] / fps[other], 3)


def median(taken: list[float]) -> float:
    """Of the turns."""
    return round(float(np.median(taken)), 1)


def percentiles(taken: list[float]) -> dict[str, float]:
    """What is usual, and what is rare."""
    return {f"p{each}": round(float(np.percentile(taken, each)), 2) for each in (50, 95, 99)}


if __name__ == "__main__":
    if sys.argv[1] == "send":
        send(sys.argv[2], sys.argv[3], float(sys.argv[4]))
    else:
        main(Path(sys.argv[1]), *map(float, sys.argv[2:3]), *map(int, sys.argv[3:4]))
