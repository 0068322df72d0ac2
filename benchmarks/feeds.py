"""How fast feeds are, each beside its alternative: ``python benchmarks/feeds.py RESULT.json [SECONDS [TURNS]]``.

Tiles of 512x512 RGB8, tissue. ``hop``: a sender and a receiver, two processes. ``chain``: sender -> ``stainstream run``
with the default model -> receiver, three processes; of bare pyzmq a relay that receives, sends and normalizes nothing.
All processes are started once; the receiver then takes from one after the other for a moment each, in many turns: who
has no receiver waits and costs nothing, and a machine whose speed drifts treats all alike. Ratios are medians over the
turns' own ratios. ``latency``: from the send to the receiver's hands, of a chain at 200 tiles a second. ``age``: of the
frame that a receiver which needs 50 ms for each has in hand, of a feed of 60 a second. It takes three minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from stainstream.benchmark.rows import machine

SIDE = 512
HWM = 4
LOSSLESS, ACKNOWLEDGED, LIVE = "delivery=lossless", "delivery=acknowledged", "delivery=live"
TARGETS = {
    "shm over ipc, hop": (">=", 2.0),
    "shm over ipc, chain": (">=", 2.0),
    "ipc over bare pyzmq, chain": (">=", 0.8),
    "acknowledged over lossless, chain": (">=", 0.7),
}
"""Of the ratios, what is to be reached."""


@dataclass(frozen=True)
class Plan:
    """Who sends, what runs in between, who receives: kinds, addresses, options of ``stainstream run``."""

    sender: tuple[str, str]
    middle: tuple[str, ...]
    receiver: tuple[str, str]


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
            due = max(due + 1 / rate, time.monotonic() - 1 / rate)  # what was late is not made up for
            time.sleep(max(0.0, due - time.monotonic()))
        give(seq)
        seq += 1


def relay(source: str, sink: str) -> None:
    """The least that any runtime must do (a process of its own)."""
    from stainstream.stream.memory import keep_large_blocks

    keep_large_blocks()
    context = zmq.Context()
    taken, given = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    for socket in (taken, given):
        socket.set_hwm(HWM)
    taken.connect(source)
    given.bind(sink)
    while True:
        given.send_multipart(taken.recv_multipart(copy=False), copy=False)


def ages(receiver: tuple[str, str], seconds: float, warm_s: float, busy_s: float = 0.0) -> tuple[float, list[float]]:
    """Tiles a second that arrive, and the age of each in ms; the first `warm_s` seconds do not count."""
    taken: list[float] = []
    start = end = 0.0
    for sent_ns in _arriving(*receiver):
        now = time.monotonic()
        if not end:
            start = now + warm_s
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
                if kind == "bare":
                    yield int(parts[0].bytes)
                elif (sent_ns := json.loads(parts[1].bytes).get("sent_ns")) is not None:
                    yield sent_ns  # what has none says that the feed begins
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


@contextmanager
def running(plans: Mapping[str, Plan], rate: float) -> Iterator[None]:
    """The senders and runtimes of all plans, each as far as having sent its first tile."""
    commands = []
    for plan in plans.values():
        commands.append([sys.executable, __file__, "send", *plan.sender, str(rate)])
        if plan.middle[:1] == ("relay",):
            commands.append([sys.executable, __file__, *plan.middle])
        elif plan.middle:
            commands.append([sys.executable, "-m", "stainstream", "run", *plan.middle])
    processes = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for command in commands]
    try:
        for plan in plans.values():
            ages(plan.receiver, 0.1, 0.1)
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def plans_in(folder: str, name: str) -> tuple[dict[str, Plan], dict[str, Plan], dict[str, Plan]]:
    """Hops, chains and live feeds."""

    def ipc(which: str) -> str:
        return f"ipc://{folder}/{which}"

    def through(source: str, sink: str) -> tuple[str, ...]:
        return "--source", source, "--sink", sink

    hops = {
        "bare pyzmq, ipc": Plan(("bare", ipc("h0")), (), ("bare", ipc("h0"))),
        "lossless, ipc": Plan(("sink", f"zmq+{ipc('h1')}?{LOSSLESS}"), (), ("source", f"zmq+{ipc('h1')}?{LOSSLESS}")),
        "acknowledged, ipc": Plan(("acknowledged", ipc("h2")), (), ("acknowledged", ipc("h2"))),
        "lossless, shm": Plan(("sink", f"shm://{name}-h?{LOSSLESS}"), (), ("source", f"shm://{name}-h?{LOSSLESS}")),
    }
    one, two, three, four = (f"zmq+{ipc(f'c{n}')}" for n in range(1, 5))
    shm = [f"shm://{name}-{which}?{LOSSLESS}" for which in "ab"]
    chains = {
        "bare pyzmq, ipc": Plan(("bare", ipc("c5")), ("relay", ipc("c5"), ipc("c6")), ("bare", ipc("c6"))),
        "lossless, ipc": Plan(
            ("sink", f"{one}?{LOSSLESS}"),
            through(f"{one}?{LOSSLESS}", f"{two}?{LOSSLESS}"),
            ("source", f"{two}?{LOSSLESS}"),
        ),
        "lossless, shm": Plan(("sink", shm[0]), through(*shm), ("source", shm[1])),
        "acknowledged, ipc": Plan(
            ("acknowledged", three.removeprefix("zmq+")),
            through(f"{three}?{ACKNOWLEDGED}", f"{four}?{ACKNOWLEDGED}"),
            ("acknowledged", four.removeprefix("zmq+")),
        ),
    }
    live = {
        "live": Plan(("sink", f"zmq+{ipc('l1')}?{LIVE}"), (), ("viewer", ipc("l1"))),
        "plain PUB/SUB": Plan(("sink", f"zmq+{ipc('l2')}?pattern=pub&hwm=1000"), (), ("subscribed", ipc("l2"))),
    }
    return hops, chains, live


def main(file: Path, seconds: float = 2.0, turns: int = 9) -> None:
    """Measure all and write it down."""
    rates: dict[str, dict[str, list[float]]] = {"hop": {}, "chain": {}}
    latency, age, loads = {}, {}, [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory(prefix="ss") as folder:
        hops, chains, live = plans_in(folder, f"bench-{time.time_ns()}")
        for bench, plans in (("hop", hops), ("chain", chains)):
            with running(plans, 0):
                for _ in range(turns):
                    for each, plan in plans.items():
                        taken = rates[bench].setdefault(each, [])
                        taken.append(ages(plan.receiver, seconds / (2 if bench == "hop" else 1), 0.4)[0])
                        print(bench, each, round(taken[-1]), flush=True)
                    loads.append(os.getloadavg()[0])
        with running(chains, 200):
            for each, plan in chains.items():
                latency[each] = percentiles(ages(plan.receiver, 4 * seconds, 1.0)[1])
        for each, plan in live.items():
            with running({each: plan}, 60):
                age[each] = percentiles(ages(plan.receiver, 4 * seconds, 1.0, 0.05)[1])
    ratios = {
        f"{what}, {bench}": ratio(rates[bench], one, other)
        for bench in rates
        for what, one, other in (
            ("shm over ipc", "lossless, shm", "lossless, ipc"),
            ("ipc over bare pyzmq", "lossless, ipc", "bare pyzmq, ipc"),
            ("acknowledged over lossless", "acknowledged, ipc", "lossless, ipc"),
        )
    }
    fps = {bench: {each: quartiles(taken) for each, taken in row.items()} for bench, row in rates.items()}
    load = {"before": round(loads[0], 2), "most": round(max(loads), 2)}
    results = {"seconds": seconds, "turns": turns, "load_average": load, "fps": fps, "ratios": ratios}
    results |= {"reached": reached(ratios, latency, age), "latency_ms": latency, "age_ms": age}
    file.write_text(json.dumps({"machine": machine(), "results": results}, indent=2) + "\n")
    print(json.dumps(results, indent=2))


def reached(
    ratios: Mapping[str, Mapping[str, float]], latency: Mapping[str, Any], age: Mapping[str, Any]
) -> dict[str, bool]:
    """Which of the aims were."""
    done = {f"{what} {sign} {goal}": ratios[what]["median"] >= goal for what, (sign, goal) in TARGETS.items()}
    for each in ("lossless, ipc", "lossless, shm", "acknowledged, ipc"):
        done[f"latency of {each}: p50 < 3 ms, p99 < 10 ms"] = latency[each]["p50"] < 3 and latency[each]["p99"] < 10
    return {**done, "age of live frames: p95 < 20 ms": age["live"]["p95"] < 20}


def ratio(rates: Mapping[str, list[float]], one: str, other: str) -> dict[str, float]:
    """How many times as fast one is, turn by turn."""
    return quartiles([a / b for a, b in zip(rates[one], rates[other], strict=True)], 3)


def quartiles(taken: list[float], digits: int = 1) -> dict[str, float]:
    """Of the turns."""
    found = (float(np.percentile(taken, at)) for at in (50, 25, 75))
    return {name: round(value, digits) for name, value in zip(("median", "q1", "q3"), found, strict=True)}


def percentiles(taken: list[float]) -> dict[str, float]:
    """What is usual, and what is rare."""
    return {f"p{each}": round(float(np.percentile(taken, each)), 2) for each in (50, 95, 99)}


if __name__ == "__main__":
    if sys.argv[1] == "send":
        send(sys.argv[2], sys.argv[3], float(sys.argv[4]))
    elif sys.argv[1] == "relay":
        relay(sys.argv[2], sys.argv[3])
    else:
        main(Path(sys.argv[1]), *map(float, sys.argv[2:3]), *map(int, sys.argv[3:4]))
