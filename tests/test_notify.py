"""Notices to a service manager, over a real socket."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stainstream.notify import PARENT, Notifier

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs Unix sockets")


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A socket like systemd's, and its address as the environment tells it."""
    if request.param == "abstract" and sys.platform != "linux":
        pytest.skip("only Linux has abstract sockets")
    address = str(tmp_path / "n") if request.param == "path" else f"@stainstream-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address.replace("@", "\0"))
        listening.settimeout(5)
        yield listening, address


def test_it_says_what_the_manager_waits_for(manager: tuple[socket.socket, str]) -> None:
    listening, address = manager
    notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())})
    assert notifier.watched
    assert notifier.watchdog_s == 3
    notifier.ready()
    notifier.alive("30 frames/s\nand more")
    notifier.stopping()
    said = [listening.recv(4096) for _ in range(3)]
    assert said == [b"READY=1", b"WATCHDOG=1\nSTATUS=30 frames/s and more", b"STOPPING=1"]


@pytest.mark.parametrize(
    "environment",
    [{"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "-1"}, {}],
)
def test_a_watchdog_that_is_not_meant_is_none(environment: dict[str, str]) -> None:
    assert Notifier({"NOTIFY_SOCKET": "/nowhere", **environment}).watchdog_s == 0


def test_without_a_manager_nothing_happens(tmp_path: Path) -> None:
    for environment in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": str(tmp_path / "gone")}):
        notifier = Notifier(environment)
        notifier.ready()
        notifier.alive("")
        assert notifier.watched is bool(environment.get("NOTIFY_SOCKET"))


def test_a_manager_that_does_not_read_holds_nothing_up(manager: tuple[socket.socket, str]) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager[1]})
    for _ in range(5000):  # many more than a socket keeps
        notifier.alive("x" * 100)


def test_an_orphan_knows() -> None:
    assert not Notifier({}).orphaned
    assert not Notifier({PARENT: str(os.getppid())}).orphaned
    assert Notifier({PARENT: "1" if os.getppid() != 1 else "2"}).orphaned
