"""The clients in docs/wire.md, taken from there and run against a real sink."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from stainstream.frame import Frame, PixelFormat
from stainstream.sinks.zeromq import ZeroMQ

TEXT = (Path(__file__).parents[2] / "docs" / "wire.md").read_text(encoding="utf-8")
ADDRESS = "tcp://127.0.0.1:5560"
IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


def client(language: str, address: str = ADDRESS) -> str:
    return TEXT.split(f"```{language}\n")[1].split("```")[0].replace(ADDRESS, address)


def first_line(command: Sequence[str], sending: ZeroMQ) -> str:
    """What a client prints of the first frame that it gets."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines: list[str] = []
        reading = threading.Thread(target=lambda out: lines.append(out.readline()), args=(process.stdout,))
        reading.start()
        for seq in range(2000):
            sending.write(Frame(IMAGE, PixelFormat.RGB8, seq, time.monotonic_ns()))
            reading.join(0.01)
            if not reading.is_alive():
                break
        process.kill()
        reading.join()
    return lines[0]


@pytest.fixture(name="sending")
def sending_() -> Iterator[ZeroMQ]:
    with ZeroMQ("zmq+tcp://127.0.0.1:0", ZeroMQ.Options()) as opened:
        yield opened


def test_python(sending: ZeroMQ) -> None:
    said = first_line([sys.executable, "-c", client("python", sending.address)], sending).split()
    assert said[1:] == ["RGB8", "(20,", "30,", "3)", str(IMAGE.mean())]


def test_cpp(sending: ZeroMQ, tmp_path: Path) -> None:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no C++ compiler (g++)")
    command, source = [compiler, "-E", "-x", "c++", "-"], b"#include <zmq.hpp>"
    probe = subprocess.run(command, input=source, capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("no cppzmq: apt-get install libzmq3-dev cppzmq-dev")
    (tmp_path / "client.cpp").write_text(client("cpp", sending.address))
    program = str(tmp_path / "client")
    subprocess.run([compiler, "-std=c++17", "-Wall", "-Werror", f"{program}.cpp", "-o", program, "-lzmq"], check=True)
    text, mean = first_line([program], sending).split("\t")
    header = json.loads(text)
    assert (header["kind"], header["shape"]) == ("frame", [20, 30, 3])
    assert float(mean) == pytest.approx(IMAGE.mean(), rel=1e-4)


def test_javascript(sending: ZeroMQ, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node")
    script = tmp_path / "client.js"
    script.write_text(client("javascript", sending.address))
    subprocess.run([node, "--check", str(script)], check=True)
    if subprocess.run([node, "-e", "require('zeromq')"], cwd=tmp_path, capture_output=True, check=False).returncode:
        pytest.skip("its syntax is right; no zeromq.js to run it: npm install zeromq, and NODE_PATH to where it is")
    said = first_line([node, str(script)], sending).split()
    assert said[1:3] == ["RGB8", "20x30x3"]
    assert float(said[3]) == pytest.approx(IMAGE.mean())


@pytest.mark.parametrize("language", ["python", "cpp", "javascript"])
def test_it_is_about_ten_lines(language: str) -> None:
    assert len([line for line in client(language).splitlines() if line.strip()]) <= 16
