"""The whole loop: replay -> run -> subscriber, three processes, beside a bare pyzmq relay."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import zmq

from stainstream.errors import EngineError
from stainstream.frame import RGB8

from .engines import Case
from .rows import Row, row

__all__ = ["loop"]

_TURNS = 5
_START_S = 30.0  # until the first frame arrives: three Pythons start on a few cores
_WARM_S = 0.5


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one turn runs."""

    model: str
    middle: str
    """ZeroMQ address between the first two processes."""
    last: str
    """ZeroMQ address of the subscriber, which is this process."""
    folder: Path
    image: RGB8


def loop(model: str, case: Case, seconds: float) -> Iterator[Row]:
    """Measure both over ipc and over tcp on loopback, in turns.

    Parameters
    ----------
    seconds
        How long each turn measures, after its first frames arrived.
    """
    transports = ("tcp",) if sys.platform == "win32" else ("ipc", "tcp")
    for transport in transports:
        rates: dict[str, list[float]] = {"pyzmq relay": [], "stainstream": []}
        for _ in range(_TURNS):
            for name, taken in rates.items():
                with tempfile.TemporaryDirectory(prefix="ss") as folder:
                    taken.append(_turn(name, model, transport, Path(folder), case.image, seconds))
        for name, taken in rates.items():
            ms = 1e3 / np.percentile(taken, [50, 75, 25])
            yield row(
                bench="loop",
                method=model if name == "stainstream" else "none",
                engine=f"{name}, {transport}",
                threads=1,
                size="512x512",
                input=case.content,
                fps=float(np.median(taken)),
                copy_ms=None,
                ms=(float(ms[0]), float(ms[1]), float(ms[2])),
            )


def _turn(name: str, model: str, transport: str, folder: Path, image: RGB8, seconds: float) -> float:
    """Frames a second that arrive at the subscriber."""
    with zmq.Context() as context, context.socket(zmq.PULL) as socket:
        socket.linger, socket.rcvhwm, socket.rcvtimeo = 0, 4, int(_START_S * 1e3)
        if transport == "ipc":
            middle, last = f"ipc://{folder / 'a'}", f"ipc://{folder / 'b'}"
            socket.bind(last)
        else:
            last = f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}"
            middle = f"tcp://127.0.0.1:{_free_port(context)}"
        commands = (_relay if name == "pyzmq relay" else _stainstream)(_Plan(model, middle, last, folder, image))
        with _running(commands, folder / "log"):
            return _count(socket, seconds, folder / "log")


def _relay(plan: _Plan) -> list[list[str]]:
    file = plan.folder / "image.npy"
    np.save(file, plan.image)
    module = [sys.executable, "-m", "stainstream.benchmark.relay"]
    return [[*module, "relay", plan.middle, plan.last], [*module, "send", plan.middle, str(file)]]


def _stainstream(plan: _Plan) -> list[list[str]]:
    file = plan.folder / "image.png"
    cv2.imwrite(str(file), plan.image[..., ::-1])
    command = [sys.executable, "-m", "stainstream"]
    options = "pattern=push&bind=0&format=array-1.0"
    run = [*command, "run", "--model", plan.model, "--policy", "lossless", "--threads", "1"]
    run += ["--source", f"zmq+{plan.middle}?pattern=pull&bind=1&format=array-1.0"]
    run += ["--sink", f"zmq+{plan.last}?{options}"]
    return [run, [*command, "replay", str(file), "--to", f"zmq+{plan.middle}?{options}", "--loop"]]


@contextmanager
def _running(commands: Sequence[Sequence[str]], log: Path) -> Iterator[None]:
    with log.open("wb") as file:
        processes = [subprocess.Popen(command, stdout=file, stderr=file) for command in commands]
        try:
            yield
        finally:
            for process in processes:
                process.kill()
            for process in processes:
                process.wait()


def _count(socket: zmq.Socket[bytes], seconds: float, log: Path) -> float:
    try:
        socket.recv_multipart(copy=False)
    except zmq.Again as error:
        raise EngineError("the loop did not start", log.read_text(errors="replace")[-500:]) from error
    end = time.perf_counter() + _WARM_S
    while time.perf_counter() < end:
        socket.recv_multipart(copy=False)
    start, count = time.perf_counter(), 0
    while (now := time.perf_counter()) < start + seconds:
        socket.recv_multipart(copy=False)
        count += 1
    return count / (now - start)


def _free_port(context: zmq.Context[zmq.Socket[bytes]]) -> int:
    with context.socket(zmq.PULL) as probe:
        return probe.bind_to_random_port("tcp://127.0.0.1")
