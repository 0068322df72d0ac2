"""Processes that are looked after; all of them real."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from stainstream.stream.supervisor import Patience, Supervisor

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

QUICK = Patience(first=0.05, longest=0.2, steady=30, silent=1.0, stop=1.0)
FOREVER = "import time; time.sleep(600)"
READY = """
import time
from stainstream.notify import Notifier
notifier = Notifier()
notifier.ready()
"""
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{READY}\nprint(flush=True)\ntime.sleep(600)"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@contextmanager
def running(supervisor: Supervisor) -> Iterator[None]:
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        yield
    finally:
        supervisor.stop()
        thread.join(20)
        assert not thread.is_alive()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def process(supervisor: Supervisor, name: str) -> int:
    ward = supervisor._wards.get(name)
    return ward._process.pid if ward is not None and ward._process is not None else 0


def test_what_ends_well_is_not_started_again(tmp_path: Path) -> None:
    mark = tmp_path / "runs"
    supervisor = Supervisor({"a": python(f"open({str(mark)!r}, 'a').write('x')")}, QUICK)
    supervisor.run()
    assert supervisor.states == {"a": "ended"}
    assert mark.read_text() == "x"


def test_what_fails_is_started_again_later_and_later(tmp_path: Path) -> None:
    mark = tmp_path / "times"
    code = f"import time; open({str(mark)!r}, 'a').write(f'{{time.monotonic()}}\\n'); raise SystemExit(3)"
    supervisor = Supervisor({"a": python(code)}, Patience(first=0.2, longest=10))
    with running(supervisor):
        wait_for(lambda: mark.exists() and len(mark.read_text().splitlines()) >= 4)
    times = [float(line) for line in mark.read_text().splitlines()]
    pauses = [after - before for before, after in pairwise(times)]
    assert all(pause >= 0.2 * 2**index for index, pause in enumerate(pauses[:3]))


def test_one_that_is_killed_again_and_again_never_touches_the_other() -> None:
    supervisor = Supervisor({"victim": python(FOREVER), "other": python(FOREVER)}, QUICK)
    with running(supervisor):
        wait_for(lambda: all(process(supervisor, name) for name in ("victim", "other")))
        other = process(supervisor, "other")
        seen: set[int] = set()
        for _ in range(5):
            wait_for(lambda: process(supervisor, "victim") not in {0, *seen})
            seen.add(victim := process(supervisor, "victim"))
            os.kill(victim, signal.SIGKILL)
        wait_for(lambda: process(supervisor, "victim") not in {0, *seen})
        assert process(supervisor, "other") == other
        assert len(seen) == 5
    assert supervisor.states == {"victim": "stopped", "other": "stopped"}


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs Unix sockets")
def test_one_that_falls_silent_is_killed_and_started_again(caplog: pytest.LogCaptureFixture) -> None:
    pinging = f"{READY}\nwhile True: notifier.alive('fine'); time.sleep(0.1)"
    supervisor = Supervisor({"silent": python(f"{READY}\ntime.sleep(600)"), "pinging": python(pinging)}, QUICK)
    with caplog.at_level("INFO"), running(supervisor):
        wait_for(lambda: "killed by SIGKILL, since it was silent" in caplog.text)
        wait_for(lambda: supervisor.states["silent"] == "running")
    assert caplog.text.count("stream pinging: starting (") == 1


def test_one_that_cannot_be_started_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor({"a": ["/no/such/program"], "b": python("pass")}, QUICK)
    with caplog.at_level("INFO"), running(supervisor):
        wait_for(lambda: caplog.text.count("cannot be started") >= 2)
        wait_for(lambda: supervisor.states["b"] == "ended")


def test_all_are_asked_to_end_and_who_does_not_is_killed(caplog: pytest.LogCaptureFixture) -> None:
    polite = f"import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n{READY}\ntime.sleep(600)"
    supervisor = Supervisor({"polite": python(polite), "stubborn": python(STUBBORN)}, QUICK)
    with caplog.at_level("INFO"), running(supervisor):
        wait_for(lambda: supervisor.states == {"polite": "running", "stubborn": "running"})
    assert "stream polite: stopped (exit code 0)" in caplog.text
    assert "stream stubborn: stopped (killed by SIGKILL, since it did not end when asked to)" in caplog.text


def test_a_process_does_not_hear_our_own_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/ours")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    mark = tmp_path / "heard"
    code = f"import os; open({str(mark)!r}, 'w').write(os.environ['NOTIFY_SOCKET'] + str('WATCHDOG_PID' in os.environ))"
    Supervisor({"a": python(code)}, QUICK).run()
    assert mark.read_text().endswith("False")
    assert not mark.read_text().startswith("/ours")
