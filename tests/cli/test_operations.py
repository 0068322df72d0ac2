"""Streams that run for weeks: configuration, supervision, logs, watchdog; each a real process."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from .conftest import Command

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
TWO = """
seconds = 0
[streams.left]
source = "demo?size=64x64&rate=50"
sinks = ["null"]
record = ["left.ome.tiff"]
report = "left.json"
[streams.right]
source = "demo?size=64x64&rate=50"
sinks = ["null"]
report = "right.json"
"""


@pytest.fixture
def two(tmp_path: Path) -> Path:
    path = tmp_path / "two.toml"
    path.write_text(TWO)
    return path


class Running:
    """A process of `stainstream run`, and what it has said so far."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "stainstream", "run", *arguments],
                cwd=folder,
                stderr=log,
                env={**os.environ, **environment},
            )

    @property
    def said(self) -> str:
        return self._log.read_text()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 90
        while not condition():
            assert time.monotonic() < deadline, self.said
            time.sleep(0.05)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Start processes that do not outlive the test."""
    started: list[Running] = []

    def start(*arguments: str, **environment: str) -> Running:
        started.append(Running(tmp_path, *arguments, **environment))
        return started[-1]

    yield start
    for each in started:
        family = [each.process] if each.process.poll() is None else []
        family += psutil.Process(each.process.pid).children() if family else []
        for member in family:
            member.kill()
        each.process.wait(10)


def test_a_configuration_is_checked_before_anything_opens(command: Command, two: Path) -> None:
    done = command("run", "--config", two, "--check")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "left: demo -> null, record:left.ome.tiff; live; model default; ok",
        "right: demo -> null; live; model default; ok",
    ]
    assert sorted(path.name for path in two.parent.iterdir()) == ["two.toml"]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("seconds = 0", "secnods = 0", "two.toml, line 2: secnods: unknown; known are"),
        ('sinks = ["null"]\nrecord', 'sinks = ["zmq+x://"]\nrecord', "unknown sink"),
        ("rate=50", "speed=50", "unknown field `speed`"),
        ("left.ome.tiff", "left.gif", "unknown kind of recording"),
        ("seconds = 0", 'model = "nonsense"', "no model 'nonsense'"),
        ("seconds = 0", 'engine = "warp"', "unknown engine 'warp'"),
        ("seconds = 0", 'model = "nothing.toml"', "no calibration 'nothing.toml'"),
        ("seconds = 0", 'normalizer = "reinhard"', "cannot normalize with reinhard: it has no target"),
        ("seconds = 0", 'model = "a"\nnormalizer = "reinhard"', "cannot use a model and a normalizer"),
    ],
)
@pytest.mark.parametrize("options", [["--check"], []])
def test_a_mistake_anywhere_is_one_line_and_nothing_runs(
    command: Command, two: Path, before: str, after: str, message: str, options: list[str]
) -> None:
    two.write_text(TWO.replace(before, after))
    done = command("run", "--config", two, *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert sorted(path.name for path in two.parent.iterdir()) == ["two.toml"]


def test_the_command_line_goes_before_the_file(command: Command, tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text('source = "demo?size=64x64"\nframes = 3\nsinks = ["null"]\nreport = "r.json"\n')
    assert "captured 3 = delivered 3" in command("run", "--config", "one.toml").stderr
    assert "captured 5 = delivered 5" in command("run", "--config", "one.toml", "--frames", 5).stderr
    assert json.loads((tmp_path / "r.json").read_text())["captured"] == 5


def test_one_of_several_streams_is_run_by_name(command: Command, two: Path) -> None:
    done = command("run", "--config", two, "--stream", "right", "--frames", 2)
    assert "stainstream[right]: null: captured 2 = delivered 2" in done.stderr
    assert "there is no stream 'middle': streams in" in command("run", "--config", two, "--stream", "middle").stderr


@POSIX
def test_one_stream_is_killed_again_and_again_and_the_other_goes_on(run: Callable[..., Running], two: Path) -> None:
    running = run("--config", str(two))
    running.wait_for(lambda: "stream left: running" in running.said and "stream right: running" in running.said)
    children = {child.cmdline()[-1]: child for child in psutil.Process(running.process.pid).children()}
    other = children["right"].pid
    for count in (1, 2):
        victim = next(c for c in psutil.Process(running.process.pid).children() if c.cmdline()[-1] == "left")
        victim.kill()
        running.wait_for(lambda: running.said.count("stream left: running") == count + 1)  # noqa: B023 - used at once
    assert running.said.count("killed by SIGKILL") == 2
    assert running.end() == 0
    assert running.said.count("stream right: starting (process") == 1
    assert f"stream right: starting (process {other})" in running.said
    for name in ("left", "right"):
        assert f"stream {name}: stopped (exit code 0)" in running.said
        report = json.loads((two.parent / f"{name}.json").read_text())
        assert report["sinks"]["null"]["delivered"] > 0
    assert len(list(two.parent.glob("left*.ome.tiff"))) == 3  # each start records into a file of its own


@POSIX
def test_streams_end_with_their_supervisor(run: Callable[..., Running], two: Path) -> None:
    running = run("--config", str(two))
    running.wait_for(lambda: "stream left: running" in running.said and "stream right: running" in running.said)
    children = psutil.Process(running.process.pid).children()
    running.process.kill()
    running.process.wait(10)
    gone, alive = psutil.wait_procs(children, 20)
    assert (len(gone), alive) == (2, [])
    assert running.said.count("the supervisor has gone") >= 2


def test_streams_that_end_end_the_supervisor(command: Command, two: Path) -> None:
    done = command("run", "--config", two, "--frames", 3)
    assert done.returncode == 0, done.stderr
    for name in ("left", "right"):
        assert f"stainstream: stream {name}: ended (exit code 0)" in done.stderr
    assert "stainstream: all streams have ended" in done.stderr


def test_logs_are_objects_on_request(command: Command, two: Path) -> None:
    done = command("run", "--config", two, "--log", "json", "--frames", 3)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
    assert {line.get("stream") for line in lines} == {None, "left", "right"}
    (end,) = [line for line in lines if line.get("stream") == "left" and "report" in line]
    assert (end["event"], end["report"]["captured"]) == ("end", 3)
    refused = command("run", "--log", "json", "--source", "nowhere://x", "--sink", "null")
    (line,) = [json.loads(line) for line in refused.stderr.splitlines()]
    assert refused.returncode == 2
    assert line["level"] == "error"
    assert "unknown source" in line["message"]


@pytest.mark.parametrize("log", ["text", "json"])
def test_a_password_never_reaches_the_log(command: Command, tmp_path: Path, log: str) -> None:
    source = "rtsp://me:hunter2@127.0.0.1:1/live?token=hunter2"
    for arguments in (["--source", source], ["--source", source, "--check"], ["--source", source + "&rate=1&rate=2"]):
        done = command("run", *arguments, "--sink", "null", "--seconds", 1, "--log", log)
        assert "hunter2" not in done.stdout + done.stderr
        assert "127.0.0.1" in done.stdout + done.stderr
    done = command("--debug", "run", "--source", source, "--sink", "null", "--seconds", 1, "--log", log)
    assert "hunter2" not in done.stderr.replace(f"address = {source!r}", "")


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs Unix sockets")
def test_the_service_manager_is_told(run: Callable[..., Running], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        running = run(
            *("--source", "demo?size=64x64&rate=50", "--sink", "null", "--stall-timeout", "30"),
            NOTIFY_SOCKET=str(tmp_path / "notify"),
            WATCHDOG_USEC="10000000",
        )
        said = [manager.recv(4096).decode() for _ in range(4)]
        assert said[0] == "READY=1"
        assert all(each.startswith("WATCHDOG=1\nSTATUS=") and "frames/s" in each for each in said[1:])
        assert running.end() == 0
        while said[-1] != "STOPPING=1":
            said.append(manager.recv(4096).decode())


@POSIX
@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs Unix sockets")
def test_the_service_manager_is_not_told_that_a_silent_camera_is_alive(
    run: Callable[..., Running], tmp_path: Path
) -> None:
    """A feed without a sender: after its time it is no sign of life that the process is there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        run(
            *("--source", f"zmq+ipc://{tmp_path / 'feed'}", "--sink", "null", "--stall-timeout", "2"),
            NOTIFY_SOCKET=str(tmp_path / "notify"),
        )
        while "WATCHDOG=1" not in manager.recv(4096).decode():
            pass
        deadline = time.monotonic() + 60
        while select.select([manager], [], [], 5)[0]:  # it falls silent
            manager.recv(4096)
            assert time.monotonic() < deadline


def test_a_live_page_is_added_to_what_the_file_says(command: Command, two: Path, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp", reason="needs the extra: view")
    (tmp_path / "one.toml").write_text('sinks = ["null"]\n')
    done = command("run", "--config", "one.toml", "--view-port", 0, "--check")
    assert "demo -> null, view?port=0, record:recording." in done.stdout, done.stderr
    assert "cannot give --view for several streams" in command("run", "--config", two, "--view").stderr
    assert "demo -> view, record:recording." in command("run", "--view", "--check").stdout
